/**
 * Takes into the inventory what hosts have and it does not know: VMs, by the spec that their host reads back, and images. Only
 * what a person names; nothing is changed on the host. How a row is made of what a host says is adopted.ts.
 */
import {
  alreadyExists,
  badState,
  ClusterError,
  invalidArgument,
  notFound,
} from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { newId, type HostId, type ImageId, type PoolId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { DomainDescription } from '../hosts/agent-client.ts';
import type { DomainRecord } from '../hosts/decode.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { claimOf } from '../jobs/world.ts';
import type { State, Tx } from '../state/state.ts';
import { adoptedVm } from './adopted.ts';
import { foundImageName, isFound, isOn } from './differences.ts';
import { checkImageName, resolve } from './names.ts';

export interface FoundVm {
  readonly host: Host;
  readonly domain: DomainRecord;
  /** Why it is not simply adopted; else empty. */
  readonly detail: string;
}

export interface AdoptVm {
  readonly vm: string;
  /** Empty: the one that has it. */
  readonly host: string;
  readonly force: boolean;
}

const MOST = 1_000;

interface Copy {
  readonly hostId: HostId;
  readonly fileBytes: number;
  readonly virtualSizeBytes: number;
}

/** By VM: hosts on which a domain runs that says it is that VM, and that the inventory does not have there. */
type Running = ReadonlyMap<string, readonly HostId[]>;

export class Adoption {
  constructor(private readonly deps: { readonly state: State; readonly hosts: Hosts }) {}

  found(): readonly FoundVm[] {
    const { tables } = this.deps.state;
    const running = this.#running();
    return this.deps.hosts.strays(MOST).flatMap(({ hostId, domain }) => {
      const host = tables.hosts.get(hostId);
      if (!host || !isFound(tables, host, domain) || this.#isOwed(host, domain)) return [];
      return [{ host, domain, detail: this.#whyNot(host, domain, running) ?? '' }];
    });
  }

  async adoptVm(request: AdoptVm, user: string): Promise<Vm> {
    const { state, hosts } = this.deps;
    const { host, domain } = this.#pick(request);
    const why = this.#whyNot(host, domain, this.#running());
    if (why !== undefined) throw badState(`vm ${domain.name} on ${host.name} cannot be adopted: ${why}`);
    needCapability(host, hosts.status(host.id).facts, 'domain.describe');
    const description = await hosts.agent(host.id).describeDomain({ uuid: domain.uuid, vmId: domain.vmId });
    if (description.changes.length > 0 && !request.force)
      throw badState(
        `vm ${domain.name} was changed on ${host.name} since Berth made it: ${description.changes.join('; ')}. Its next start by Berth undoes that; to adopt it all the same: --force`,
      );
    return state.update((tx) => this.#take(tx, { host, domain, description, user }));
  }

  /** @param image its digest, or `found-` and the beginning of it. */
  async adoptImage(image: string, name: string, user: string): Promise<Image> {
    const digests = this.#foundDigests();
    const matching = [...digests].filter((d) => d === image || foundImageName(d) === image);
    const [digest] = matching;
    if (digest === undefined)
      throw notFound(`no host has an unknown image ${image.slice(0, 80)}. See: berth host review`);
    if (matching.length > 1) throw invalidArgument(`${image} can be any of ${matching.join(', ')}: give the digest`);
    const wanted = name === '' ? foundImageName(digest) : checkImageName(name);
    return this.deps.state.update((tx) => this.#takeImage(tx, { digest, name: wanted, user }));
  }

  #pick({ vm, host: hostName }: AdoptVm): { host: Host; domain: DomainRecord } {
    const { tables } = this.deps.state;
    const only = hostName === '' ? undefined : resolve('host', tables.hosts, hostName).id;
    const all = this.deps.hosts.strays(Number.MAX_SAFE_INTEGER).flatMap(({ hostId, domain }) => {
      const host = tables.hosts.get(hostId);
      const named = domain.vmId === vm || domain.name === vm;
      return host && named && isFound(tables, host, domain) && (only ?? hostId) === hostId ? [{ host, domain }] : [];
    });
    const [one, other] = all;
    if (one === undefined) {
      const known = tables.vms.byName(vm) ?? tables.vms.get(vm);
      if (known) throw alreadyExists(`vm ${known.name} is in the inventory already`);
      throw notFound(
        `no host${only ? ` ${hostName}` : ''} has an unknown vm ${vm.slice(0, 80)}. See: berth host review`,
      );
    }
    if (other === undefined) return one;
    const where = all.map((f) => `${f.host.name} (${f.domain.vmId})`).join(', ');
    throw invalidArgument(`${vm} was found more than once: ${where}. Say which with --host, or by its id`);
  }

  /** A VM of the inventory may move to the host that has it, when its own surely has it not: never two of one. */
  #whyNot(host: Host, domain: DomainRecord, running: Running): string | undefined {
    const { state, hosts } = this.deps;
    const elsewhere = running.get(domain.vmId)?.find((id) => id !== host.id);
    if (elsewhere && isOn(domain)) return `it runs on ${state.tables.hosts.get(elsewhere)?.name ?? elsewhere} too`;
    const known = state.tables.vms.get(domain.vmId);
    if (known === undefined) return undefined;
    if (known.uuid !== domain.uuid) return `it says that it is vm ${known.name}, but is another domain`;
    if (known.hostId === undefined) return undefined;
    const name = state.tables.hosts.get(known.hostId)?.name ?? known.hostId;
    const has = hosts.has(known.hostId);
    if (!has?.complete.has('domains')) return `the inventory has it on ${name}, which does not say whether it has it`;
    return has.domains.has(known.uuid) ? `the inventory has it on ${name}, which has it too` : undefined;
  }

  /** All of them, however many one host says it has. */
  #running(): Running {
    const running = new Map<string, HostId[]>();
    for (const { hostId, domain } of this.deps.hosts.strays(Number.MAX_SAFE_INTEGER))
      if (isOn(domain)) running.set(domain.vmId, [...(running.get(domain.vmId) ?? []), hostId]);
    return running;
  }

  #isOwed(host: Host, d: DomainRecord): boolean {
    return this.deps.state.tables.debts.byHost(host.id).some((debt) => debt.target === d.uuid);
  }

  #take(tx: Tx, o: { host: Host; domain: DomainRecord; description: DomainDescription; user: string }): Vm {
    const { host, domain, user } = o;
    if (!isFound(tx, host, domain)) throw badState(`vm ${domain.name} is in the inventory by now`);
    const { wanted } = o.description;
    if (wanted.vmId !== domain.vmId || wanted.uuid !== domain.uuid) throw badState('its host speaks of another domain');
    const known = tx.vms.get(domain.vmId);
    const imageOf = (digest: string): ImageId => this.#imageOf(tx, { digest, user, from: host.id }).id;
    const poolOf = (volumeId: string): PoolId | undefined => {
      const poolId = this.deps.hosts.has(host.id)?.volumes.get(volumeId)?.poolId ?? '';
      return tx.pools.get(poolId)?.id;
    };
    const about = { description: o.description, hostId: host.id, on: isOn(domain), known };
    const vm = adoptedVm({ ...about, imageOf, poolOf });
    refuseShared(tx, vm, host);
    tx.vms.put(vm);
    tx.claims.put(claimOf(vm, host.id, isOn(domain)));
    const own = new Set<string>([vm.uuid, vm.spec.seedVolumeId ?? '', ...vm.spec.disks.map((d) => d.volumeId)]);
    for (const debt of [...tx.debts.byHost(host.id)]) if (own.has(debt.target)) tx.debts.delete(debt.id);
    const message = `vm ${vm.name} was found on ${host.name} and adopted by ${user}`;
    tx.event({ type: 'vm.adopted', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId: undefined });
    return vm;
  }

  #imageOf(tx: Tx, o: { digest: string; user: string; from: HostId }): Image {
    const known = tx.images.byDigest(o.digest)[0];
    return known ?? this.#takeImage(tx, { ...o, name: foundImageName(o.digest) });
  }

  /** @param from whose VM has it: what that host says of it counts. */
  #takeImage(tx: Tx, o: { digest: string; name: string; user: string; from?: HostId }): Image {
    const { digest, name, user } = o;
    if (tx.images.byDigest(digest)[0]) throw alreadyExists(`image ${tx.images.byDigest(digest)[0]!.name} is that one`);
    const copies = this.#agreeing(tx, this.#copiesOf(digest), o);
    const [first] = copies;
    if (!first) throw new ClusterError('NOT_FOUND', `no host that can be reached has image ${digest}`);
    const image: Image = {
      id: newId('image', tx.nowMs),
      name,
      state: 'available',
      digest,
      sourceDigest: undefined,
      virtualSizeBytes: first.virtualSizeBytes,
      createdAtMs: tx.nowMs,
    };
    tx.images.put(image);
    for (const { hostId, fileBytes } of copies) tx.imageCopies.put({ imageId: image.id, hostId, fileBytes });
    const message = `image ${name} was found on ${copies.length} host${copies.length === 1 ? '' : 's'} and adopted by ${user}`;
    tx.event({
      type: 'image.adopted',
      severity: 'info',
      subjectKind: 'image',
      subject: name,
      message,
      jobId: undefined,
    });
    return image;
  }

  /** One digest has one size: where hosts say different ones, somebody is wrong, and an image must not have the wrong one. */
  #agreeing(tx: Tx, all: readonly Copy[], { name, from }: { name: string; from?: HostId }): readonly Copy[] {
    const right = all.find((k) => k.hostId === from) ?? all[0];
    const copies = all.filter((k) => k.virtualSizeBytes === right?.virtualSizeBytes);
    if (copies.length === all.length || right?.hostId === from) return copies;
    const said = all.map((k) => `${tx.hosts.get(k.hostId)?.name ?? k.hostId} says ${formatBytes(k.virtualSizeBytes)}`);
    throw badState(
      `hosts do not agree how large image ${name} is: ${said.join(', ')}. Look with qemu-img info on each; then remove the image, or the host, that is wrong`,
    );
  }

  #copiesOf(digest: string): Copy[] {
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw badState('its host names an image by no proper digest');
    const { hosts, state } = this.deps;
    return [...state.tables.hosts.values()].flatMap(({ id }) => {
      const there = hosts.has(id)?.images.get(digest);
      return there ? [{ hostId: id, ...there }] : [];
    });
  }

  #foundDigests(): ReadonlySet<string> {
    const { hosts, state } = this.deps;
    const all = [...state.tables.hosts.values()].flatMap(({ id }) => [...(hosts.has(id)?.images.keys() ?? [])]);
    return new Set(all.filter((d) => state.tables.images.byDigest(d).length === 0));
  }
}

/** Names and addresses are unique by the tables; what a VM's disks are, nobody else's may be. */
function refuseShared(tx: Tx, vm: Vm, host: Host): void {
  const mine = new Set(vm.spec.disks.map((d) => d.volumeId));
  const other = tx.vms.byHost(host.id).find((v) => v.id !== vm.id && v.spec.disks.some((d) => mine.has(d.volumeId)));
  if (other) throw badState(`vm ${vm.name} has a disk that is vm ${other.name}'s`);
  for (const { mac } of vm.spec.nics) {
    const holder = tx.vms.byMac(mac);
    if (holder && holder.id !== vm.id)
      throw alreadyExists(
        `vm ${vm.name} has MAC address ${mac}, which vm ${holder.name} has too: delete that one first, or give the domain another on ${host.name} (virsh edit)`,
      );
  }
  const namesake = tx.vms.byName(vm.name);
  if (namesake && namesake.id !== vm.id)
    throw alreadyExists(
      `vm ${vm.name} on ${host.name} has the name of another vm of the inventory: delete that one first`,
    );
}
