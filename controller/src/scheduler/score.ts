/** Which of the hosts that will do is best. Lower cost wins; pure, and the same whatever order the hosts come in. */
import type { HostFacts } from '@berth/shared/model/host.ts';
import { capacity, load, qemuOverheadBytes } from './capacity.ts';
import type { PlacementRequest, Policy, WorldHost } from './world.ts';

export interface Scored {
  readonly host: WorldHost;
  readonly cost: number;
  readonly guests: number;
  readonly spread: number;
}

/**
 * The fuller of CPU and memory after placement (which is their mean plus half their imbalance), counting stopped VMs too:
 * they will be started one day. A host that lacks the image pays half of what the VM itself costs there, so that the image
 * decides between nearly equal hosts and never piles VMs up on one of them.
 */
export function score(host: WorldHost, facts: HostFacts, request: PlacementRequest, policy: Policy): Scored {
  const all = capacity(facts, policy);
  const taken = load(host, facts, 'all', request.vmId);
  const own = { vcpus: request.vcpus, memoryBytes: request.memoryBytes + qemuOverheadBytes(request, facts.domainType) };
  const fullness = (vcpus: number, memoryBytes: number): number =>
    Math.max(vcpus / Math.max(1, all.vcpus), memoryBytes / Math.max(1, all.memoryBytes));
  const lacksImage = request.image !== undefined && !host.imageDigests.has(request.image.digest);
  const after = fullness(taken.vcpus + own.vcpus, taken.memoryBytes + own.memoryBytes);
  return {
    host,
    cost: after + (lacksImage ? fullness(own.vcpus, own.memoryBytes) / 2 : 0),
    guests: host.claims.length + host.foreign.length,
    spread: hash(`${request.vmId ?? ''}/${host.id}`),
  };
}

const EPSILON = 1e-9;

/** Cost, then fewer guests, then a hash of VM and host (so that ties spread), then the id. A total order. */
export function better(a: Scored, b: Scored): boolean {
  const costs = [Math.round(a.cost / EPSILON), Math.round(b.cost / EPSILON)] as const;
  if (costs[0] !== costs[1]) return costs[0] < costs[1];
  if (a.guests !== b.guests) return a.guests < b.guests;
  if (a.spread !== b.spread) return a.spread < b.spread;
  return a.host.id < b.host.id;
}

/** FNV-1a with a final mix: short, even, and the same everywhere. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}
