/** What is known of a host now, from its link and record. Pure. */
import { hostState, type Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { DomainRecord } from './decode.ts';
import type { HostLink } from './host-link.ts';
import type { HostStatus } from './hosts.ts';

const NONE: ReadonlySet<string> = new Set();

/** @param strays domains that claim to be VMs which do not live there: they take room like foreign ones. */
export function statusOf(
  hostId: HostId,
  link: HostLink | undefined,
  host: Host | undefined,
  strays: readonly DomainRecord[] = [],
): HostStatus {
  if (link === undefined) return neverSeen(hostId, host);
  const { record } = link;
  return {
    hostId,
    state: link.state,
    reason: reasonOf(link),
    sinceMs: link.sinceMs,
    lastSeenMs: link.lastSeenMs,
    facts: link.before ? link.before.facts : record.facts,
    statistics: record.statistics,
    ...record.views,
    foreign: strays.length === 0 ? record.views.foreign : [...record.views.foreign, ...strays],
    complete: link.isFresh ? record.complete : NONE,
  };
}

/** A host that can be reached, but whose libvirt can't, is not plainly up. */
function reasonOf({ state, reason, isFresh, record }: HostLink): string {
  if (state === 'enrolling') return 'waits for its agent to enrol';
  const libvirtAway = isFresh && record.reported && !record.complete.has('domains');
  return libvirtAway && !reason ? 'libvirt does not answer: its VMs are unknown' : reason;
}

function neverSeen(hostId: HostId, host: Host | undefined): HostStatus {
  return {
    hostId,
    state: host ? hostState(host, 'none') : 'unreachable',
    reason: host ? '' : 'this host does not exist',
    sinceMs: host?.createdAtMs ?? 0,
    lastSeenMs: undefined,
    facts: undefined,
    statistics: undefined,
    bridges: [],
    pools: [],
    networks: [],
    foreign: [],
    imageDigests: NONE,
    volumeIds: NONE,
    complete: NONE,
  };
}
