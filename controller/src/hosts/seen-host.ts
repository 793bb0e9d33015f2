/** What a host said last, as one run of the controller leaves it to the next: made from its link, and shown of a VM. Pure. */
import type { Host, HostFacts } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm, VmObserved, VmPower } from '@berth/shared/model/vm.ts';
import type { HostRecord } from './record.ts';

export interface SeenHost {
  readonly hostId: string;
  readonly atMs: number;
  readonly facts: HostFacts | undefined;
  readonly vms: Readonly<Record<string, VmPower>>;
}

interface Link {
  readonly host: Host;
  readonly lastSeenMs: number | undefined;
  readonly before: SeenHost | undefined;
  readonly record: HostRecord;
}

/** What the next run of the controller shall know of a host; undefined when it was never heard of. */
export function seenOf(link: Link): SeenHost | undefined {
  if (link.before) return link.before;
  if (link.lastSeenMs === undefined) return undefined;
  const ours = [...link.record.domains.values()].filter((d) => d.vmId !== '').map((d) => [d.vmId, d.power] as const);
  const { facts } = link.record;
  return { hostId: link.host.id, atMs: link.lastSeenMs, facts, vms: Object.fromEntries(ours) };
}

/** Not known now; what was, is the reason. */
export function lastSeenVm(seen: SeenHost, vm: Vm): VmObserved | undefined {
  const power = Object.hasOwn(seen.vms, vm.id) ? seen.vms[vm.id] : undefined;
  if (power === undefined) return undefined;
  const reason = `last seen ${power}`;
  return { vmId: vm.id, hostId: seen.hostId as HostId, power: 'unknown', reason, seenAtMs: seen.atMs };
}
