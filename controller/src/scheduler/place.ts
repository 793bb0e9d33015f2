/**
 * Where a VM may go: the best host, or for every host the first reason against it. Pure: the same world and request give the
 * same answer. Takes no claim; the caller does that in the transaction in which it asked.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import { FILTERS } from './filters.ts';
import { better, score, type Scored } from './score.ts';
import type { PlacementRequest, Policy, Refusal, World, WorldHost } from './world.ts';

export type Placement = { readonly hostId: HostId } | { readonly refusals: readonly Refusal[] };

export function place(world: World, request: PlacementRequest): Placement {
  let best: Scored | undefined;
  for (const host of world.hosts) {
    if (host.facts === undefined || refusal(host, request, world.policy) !== undefined) continue;
    const scored = score(host, host.facts, request, world.policy);
    if (best === undefined || better(scored, best)) best = scored;
  }
  if (best) return { hostId: best.host.id };
  return { refusals: refusals(world, request) };
}

/** Why each host will not do, in the order of their names. Hosts that were not asked for are left out. */
export function refusals(world: World, request: PlacementRequest): readonly Refusal[] {
  return world.hosts
    .filter((h) => request.hostId === undefined || h.id === request.hostId)
    .map((h) => refusal(h, request, world.policy))
    .filter((r) => r !== undefined)
    .sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : a.hostId < b.hostId ? -1 : 1));
}

function refusal(host: WorldHost, request: PlacementRequest, policy: Policy): Refusal | undefined {
  for (const [filter, whyNot] of FILTERS) {
    const detail = whyNot(host, request, policy);
    if (detail !== undefined) return { hostId: host.id, host: host.name, filter, detail };
  }
  return undefined;
}
