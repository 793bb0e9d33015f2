/**
 * What a host may not say: it reports only about VMs that are placed on it. Anything else is ignored, and told once per
 * domain, so that a lying agent can't fill the event log.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { State } from '../state/state.ts';
import type { DomainRecord } from './decode.ts';
import { LIMITS } from './limits.ts';

interface Told {
  readonly uuids: Set<string>;
  connection: number;
}

export class Misreports {
  private readonly told = new Map<HostId, Told>();
  /** UUIDs of domains that did not belong when they were reported. */
  private readonly strays = new Map<HostId, Set<string>>();

  constructor(private readonly state: State) {}

  forget(hostId: HostId): void {
    this.told.delete(hostId);
    this.strays.delete(hostId);
  }

  /** True when the domain is a VM of that host. */
  belongs(hostId: HostId, d: DomainRecord): boolean {
    const vm = this.state.tables.vms.get(d.vmId);
    return vm !== undefined && vm.hostId === hostId && vm.uuid === d.uuid;
  }

  noteStray(hostId: HostId, uuid: string, stray: boolean): void {
    const mine = this.strays.get(hostId);
    if (stray) this.strays.set(hostId, (mine ?? new Set()).add(uuid));
    else if (mine?.delete(uuid) && mine.size === 0) this.strays.delete(hostId);
  }

  /** Hosts that have any, or had. */
  hosts(): Iterable<HostId> {
    return this.strays.keys();
  }

  straysOf(hostId: HostId, domains: ReadonlyMap<string, DomainRecord>): readonly DomainRecord[] {
    const uuids = this.strays.get(hostId);
    if (uuids === undefined) return [];
    return [...uuids]
      .map((u) => domains.get(u))
      .filter((d) => d !== undefined && !this.belongs(hostId, d)) as DomainRecord[];
  }

  /** One line for people, or undefined when there is nothing to tell, or nothing new. */
  complaint(hostId: HostId, connection: number, d: DomainRecord): string | undefined {
    const { tables } = this.state;
    if (d.vmId === '' || this.belongs(hostId, d)) return undefined;
    if (tables.jobs.holders(`vm/${d.vmId}`).length > 0) return undefined;
    if (tables.debts.byHost(hostId).some((debt) => debt.kind === 'domain' && debt.target === d.uuid)) return undefined;
    if (!this.isNews(hostId, connection, d.uuid)) return undefined;
    const vm = tables.vms.get(d.vmId);
    if (vm === undefined) return `domain ${d.name} says it is ${d.vmId}, which does not exist: it is left alone`;
    const owner = vm.hostId === undefined ? undefined : tables.hosts.get(vm.hostId);
    return vm.hostId === hostId
      ? `domain ${d.name} says it is vm ${vm.name}, but has another UUID: it is left alone`
      : `domain ${d.name} says it is vm ${vm.name}, which ${owner ? `belongs to ${owner.name}` : 'has no host'}: ignored`;
  }

  private isNews(hostId: HostId, connection: number, uuid: string): boolean {
    const told = this.told.get(hostId) ?? { uuids: new Set<string>(), connection };
    this.told.set(hostId, told);
    if (told.connection !== connection && told.uuids.size >= LIMITS.complaints) told.uuids.clear();
    told.connection = connection;
    if (told.uuids.has(uuid) || told.uuids.size >= LIMITS.complaints) return false;
    told.uuids.add(uuid);
    return true;
  }
}

interface Stray {
  readonly hostId: HostId;
  readonly domain: DomainRecord;
}

/** At most so many, and of each host its share: one that says it has thousands must not hide what the others have. */
export function fairly(
  all: readonly { readonly hostId: HostId; readonly domains: readonly DomainRecord[] }[],
  most: number,
): readonly Stray[] {
  const fewestFirst = [...all].sort((a, b) => a.domains.length - b.domains.length);
  let left = most;
  return fewestFirst.flatMap(({ hostId, domains }, i) => {
    const share = domains.slice(0, Math.ceil(left / (fewestFirst.length - i)));
    left -= share.length;
    return share.map((domain) => ({ hostId, domain }));
  });
}
