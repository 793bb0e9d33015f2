/** What a placement costs: decisions per second on a cluster that fills up. Functions only; the table is main.ts's. */
import { place } from '@berth/controller/scheduler/place.ts';
import { DEFAULT_POLICY, type PlacementRequest } from '@berth/controller/scheduler/world.ts';
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
  const all = Array.from({ length: hosts }, (_, i) => worldHost(`h${i}`, { facts: big }));
  const image = { hosts: new Set(all.filter((_, i) => i % 3 === 0).map((h) => h.id)), fileBytes: GIB };
  const byId = new Map(all.map((h) => [h.id, h]));
  let placed = 0;
  const beganMs = clock.monotonic();
  for (let i = 0; i < count; i++) {
    const answer = place({ policy: DEFAULT_POLICY, hosts: all }, request(i, image));
    const host = 'hostId' in answer ? byId.get(answer.hostId) : undefined;
    if (!host) continue;
    host.claims.add(claimOn(host, `vm-${i}`), 1);
    placed++;
  }
  return { hosts, placed, perSecond: (count / Math.max(1, clock.monotonic() - beganMs)) * 1000 };
}

const request = (i: number, image: PlacementRequest['image']): PlacementRequest => ({
  vmId: `vm-${i}` as VmId,
  own: undefined,
  vcpus: 1 + (i % 4),
  memoryBytes: (1 + (i % 8)) * GIB,
  diskBytes: 10 * GIB,
  image,
  bridges: ['br0'],
  capabilities: [],
  hostLabels: [],
  hostId: undefined,
});
