/** Which of the hosts that will do is best. Lower cost wins; pure, and the same whatever order the hosts come in. */
import type { HostFacts } from '@berth/shared/model/host.ts';
import { allMemoryBytes, allVcpus, memoryOf, oneGuest, takenMemoryBytes, takenVcpus } from './capacity.ts';
import type { PlacementRequest, Policy, WorldHost } from './world.ts';

/**
 * The fuller of CPU and memory after placement (which is their mean plus half their imbalance), counting stopped VMs too:
 * they will be started one day. A host that lacks the image pays half of what the VM itself costs there, so that the image
 * decides between nearly equal hosts and never piles VMs up on one of them. In steps, so that nearly equal is equal.
 */
export function cost(host: WorldHost, facts: HostFacts, request: PlacementRequest, policy: Policy): number {
  const vcpus = Math.max(1, allVcpus(facts, policy));
  const memoryBytes = Math.max(1, allMemoryBytes(facts, policy));
  const ownMemory = memoryOf(oneGuest(request), facts.domainType);
  const cpuAfter = (takenVcpus(host, 'all', request.own) + request.vcpus) / vcpus;
  const memoryAfter = (takenMemoryBytes(host, facts, 'all', request.own) + ownMemory) / memoryBytes;
  const lacksImage = request.image !== undefined && !request.image.hosts.has(host.id);
  const image = lacksImage ? Math.max(request.vcpus / vcpus, ownMemory / memoryBytes) / 2 : 0;
  return Math.round((Math.max(cpuAfter, memoryAfter) + image) / STEP);
}

const STEP = 1e-9;

/** Between hosts of the same cost: fewer guests, then by chance (the same for the same VM and host), then the id. */
export function better(a: WorldHost, b: WorldHost, salt: number): boolean {
  const guests = guestsOf(a) - guestsOf(b);
  if (guests !== 0) return guests < 0;
  const spread = mix(a.salt ^ salt) - mix(b.salt ^ salt);
  return spread === 0 ? a.id < b.id : spread < 0;
}

const guestsOf = (h: WorldHost): number => h.claims.all.guests + h.foreign.all.guests;

/** FNV-1a: short, even, and the same everywhere. */
export function saltOf(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

function mix(n: number): number {
  const h = Math.imul(n ^ (n >>> 16), 0x85ebca6b);
  const g = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (g ^ (g >>> 16)) >>> 0;
}
