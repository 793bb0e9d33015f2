/** What a placement costs: decisions per second on a cluster that fills up. Functions only; the table is main.ts's. */
import { place } from '@berth/controller/scheduler/place.ts';
import { DEFAULT_POLICY, type PlacementRequest, type WorldHost } from '@berth/controller/scheduler/world.ts';
import type { VmId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { claimOn, facts, GIB, worldHost } from '../harness/world-builder.ts';

export interface PlacementRate {
  readonly hosts: number;
  readonly placed: number;
  readonly perSecond: number;
}

/** @param count VMs placed one after another, each claim taken before the next is asked for. */
export function measurePlacements(clock: Clock, hosts: number, count: number): PlacementRate {
  const big = facts({ cpuThreads: 64, memoryBytes: 512 * GIB, diskBytes: 4000 * GIB, diskFreeBytes: 4000 * GIB });
  const all: (WorldHost & { claims: unknown[] })[] = Array.from({ length: hosts }, (_, i) => ({
    ...worldHost(`h${i}`, { facts: big, imageDigests: new Set(i % 3 === 0 ? ['sha256:x'] : []) }),
    claims: [],
  }));
  const byId = new Map(all.map((h) => [h.id, h]));
  let placed = 0;
  const beganMs = clock.monotonic();
  for (let i = 0; i < count; i++) {
    const answer = place({ policy: DEFAULT_POLICY, hosts: all }, request(i));
    const host = 'hostId' in answer ? byId.get(answer.hostId) : undefined;
    if (!host) continue;
    host.claims.push(claimOn(host, `vm-${i}`));
    placed++;
  }
  return { hosts, placed, perSecond: (count / Math.max(1, clock.monotonic() - beganMs)) * 1000 };
}

const request = (i: number): PlacementRequest => ({
  vmId: `vm-${i}` as VmId,
  vcpus: 1 + (i % 4),
  memoryBytes: (1 + (i % 8)) * GIB,
  diskBytes: 10 * GIB,
  image: { digest: 'sha256:x', fileBytes: GIB },
  bridges: ['br0'],
  capabilities: [],
  hostLabels: {},
  hostId: undefined,
});
