/**
 * In what a host differs from the inventory: VMs, images and volumes that only it knows, and those that only the inventory
 * knows. Pure reads, for people to decide on; nothing follows from it by itself. What a job works on is no difference.
 */
import type { Host } from '@berth/shared/model/host.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { DomainRecord, VolumeRecord } from '../hosts/decode.ts';
import type { HostHas } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';

export interface Difference {
  readonly kind: 'vm' | 'image' | 'volume';
  readonly name: string;
  readonly id: string;
  /** power: on in one, off in the other; told only while the host is reviewed. */
  readonly what: 'found' | 'gone' | 'elsewhere' | 'power';
  readonly detail: string;
  readonly advice: string;
}

interface About {
  readonly host: Host;
  readonly has: HostHas;
  readonly tables: Tables;
  readonly nowMs: number;
}

export function differencesOf(about: About): readonly Difference[] {
  return [
    ...foundVms(about),
    ...goneVms(about),
    ...otherPower(about),
    ...foundImages(about),
    ...goneImages(about),
    ...foundVolumes(about),
  ];
}

export const isOn = (d: DomainRecord): boolean => d.power !== 'stopped' && d.power !== 'crashed';

/** Whether the host's domain is not the one of the inventory: unknown there, or placed elsewhere. */
export function isFound(tables: Tables, host: Host, d: DomainRecord): boolean {
  if (d.vmId === '' || isBusy(tables, d.vmId)) return false;
  const vm = tables.vms.get(d.vmId);
  return vm === undefined ? true : vm.hostId !== host.id || vm.uuid !== d.uuid;
}

const isBusy = (tables: Tables, vmId: string): boolean => tables.jobs.holders(`vm/${vmId}`).length > 0;

function foundVms({ host, has, tables }: About): Difference[] {
  const owed = new Set(tables.debts.byHost(host.id).map((d) => d.target));
  return [...has.domains.values()]
    .filter((d) => isFound(tables, host, d) && (!owed.has(d.uuid) || tables.reviews.get(host.id) !== undefined))
    .map((d) => foundVm(d, { host, tables, owed: owed.has(d.uuid) }));
}

function foundVm(d: DomainRecord, o: { host: Host; tables: Tables; owed: boolean }): Difference {
  const known = o.tables.vms.get(d.vmId);
  const sizes = `${d.power}, ${d.vcpus} vCPU, ${formatBytes(d.memoryBytes)}`;
  const base = { kind: 'vm', name: d.name, id: d.vmId } as const;
  if (known && known.uuid !== d.uuid)
    return {
      ...base,
      what: 'found',
      detail: `${sizes}; it says that it is vm ${known.name}, but is another domain`,
      advice: 'it is left alone',
    };
  if (known) {
    const where = (known.hostId && o.tables.hosts.get(known.hostId)?.name) ?? 'no host';
    return {
      ...base,
      what: 'elsewhere',
      detail: `${sizes}; the inventory has it on ${where}`,
      advice: `if ${where} does not have it: berth vm adopt ${d.name}`,
    };
  }
  const owed = o.owed ? '; it was deleted, and goes when the host is accepted' : '';
  return {
    ...base,
    what: 'found',
    detail: `${sizes}; the inventory does not know it${owed}`,
    advice: `berth vm adopt ${d.name}; or leave it alone`,
  };
}

function goneVms({ host, has, tables, nowMs }: About): Difference[] {
  if (!has.complete.has('domains')) return [];
  return tables.vms.byHost(host.id).flatMap((vm): Difference[] => {
    if (vm.phase !== 'ready' || isBusy(tables, vm.id) || domainOf(has, vm)) return [];
    const disks = vm.spec.disks.filter((d) => has.volumes.has(d.volumeId)).length;
    const all = disks === vm.spec.disks.length;
    return [
      {
        kind: 'vm',
        name: vm.name,
        id: vm.id,
        what: 'gone',
        detail: `${goneSince(host, has, vm, nowMs)}; ${all ? 'its disks are there' : 'its disks are gone too'}`,
        advice: all
          ? `make its domain again: berth vm start ${vm.name}; forget it, disks too: berth vm delete ${vm.name}`
          : `forget it: berth vm delete ${vm.name}`,
      },
    ];
  });
}

/** Since when, as far as this run of the controller knows. */
export function goneSince(host: Host, has: HostHas | undefined, vm: Vm, nowMs: number): string {
  const atMs = has?.goneAtMs(vm.uuid);
  return atMs === undefined ? `gone from ${host.name}` : `gone from ${host.name} for ${formatAge(nowMs - atMs)}`;
}

export function domainOf(has: HostHas, vm: Vm): DomainRecord | undefined {
  const d = has.domains.get(vm.uuid);
  return d?.vmId === vm.id ? d : undefined;
}

function otherPower({ host, has, tables }: About): Difference[] {
  if (tables.reviews.get(host.id) === undefined) return [];
  return tables.vms.byHost(host.id).flatMap((vm): Difference[] => {
    const d = domainOf(has, vm);
    if (d === undefined || d.power === 'unknown' || isOn(d) === (vm.desiredPower === 'on')) return [];
    const was = vm.desiredPower === 'on' ? 'on' : 'off';
    const detail = `${d.power}, and was ${was} when the backup was made`;
    return [{ kind: 'vm', name: vm.name, id: vm.id, what: 'power', detail, advice: 'accepting the host leaves it so' }];
  });
}

function foundImages({ has, tables }: About): Difference[] {
  if (tables.jobs.open().some((j) => j.kind.startsWith('image.'))) return [];
  return [...has.images]
    .filter(([digest]) => tables.images.byDigest(digest).length === 0)
    .map(([digest, i]) => ({
      kind: 'image',
      name: foundImageName(digest),
      id: digest,
      what: 'found',
      detail: `${formatBytes(i.virtualSizeBytes)}, a file of ${formatBytes(i.fileBytes)}; the inventory does not know it`,
      advice: `berth image adopt ${foundImageName(digest)} --name NAME; or leave it alone`,
    }));
}

/** Hosts know images by what is in them, not by name. */
export const foundImageName = (digest: string): string => `found-${digest.replace(/^sha256:/, '').slice(0, 12)}`;

function goneImages({ host, has, tables }: About): Difference[] {
  if (!has.complete.has('images')) return [];
  return tables.imageCopies.byHost(host.id).flatMap((copy): Difference[] => {
    const image = tables.images.get(copy.imageId);
    if (!image?.digest || has.images.has(image.digest) || tables.jobs.holders(`image/${image.id}`).length > 0)
      return [];
    const others = tables.imageCopies.byImage(image.id).length - 1;
    const detail = `${host.name} has no copy any more${others > 0 ? '' : ', and no other host has one'}`;
    const advice =
      others > 0 ? 'it is copied again when it is needed' : `import it again, or: berth image delete ${image.name}`;
    return [{ kind: 'image', name: image.name, id: image.id, what: 'gone', detail, advice }];
  });
}

/** Disks that belong to no VM of the inventory and to no domain of the host. */
function foundVolumes({ host, has, tables }: About): Difference[] {
  const there = new Set([...has.domains.values()].map((d) => d.vmId));
  const owed = new Set(tables.debts.byHost(host.id).map((d) => d.target));
  return [...has.volumes]
    .filter(
      ([id, v]) =>
        !isVolume(tables, id) &&
        !there.has(v.vmId) &&
        !owed.has(id) &&
        !isBusy(tables, v.vmId) &&
        !tables.vms.get(v.vmId),
    )
    .map(([id, v]) => ({
      kind: 'volume',
      name: id,
      id,
      what: 'found',
      detail:
        v.vmId === ''
          ? foundAlone(v)
          : `${v.seed ? 'a seed' : `a disk of ${formatBytes(v.sizeBytes)}, ${formatBytes(v.allocatedBytes)} in use,`} of ${v.vmId}, of which nothing else is left`,
      advice: v.vmId === '' ? `berth volume adopt ${id} --name NAME; or leave it alone` : 'it is left alone',
    }));
}

const foundAlone = (v: VolumeRecord): string =>
  `a volume of ${formatBytes(v.sizeBytes)}, ${formatBytes(v.allocatedBytes)} in use, that is nobody's; the inventory does not know it`;

/** One that stands alone, or is being made, moved or given to a VM. */
const isVolume = (tables: Tables, id: string): boolean =>
  tables.volumes.get(id) !== undefined || tables.jobs.holders(`volume/${id}`).length > 0;
