/**
 * Where a VM may go: the best host, or for every host the first reason against it. Pure: the same world and request give the
 * same answer. Takes no claim; the caller does that in the transaction in which it asked.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import { firstRefusal, wantsIt } from './filters.ts';
import { better, cost, saltOf } from './score.ts';
import type { PlacementRequest, Policy, Refusal, World, WorldHost } from './world.ts';

export type Placement = { readonly hostId: HostId } | { readonly refusals: readonly Refusal[] };

export function place(world: World, request: PlacementRequest): Placement {
  let best: WorldHost | undefined;
  let least = Infinity;
  const salt = saltOf(request.vmId ?? '');
  for (const host of world.hosts) {
    if (host.facts === undefined) continue;
    const its = cost(host, host.facts, request, world.policy);
    // whether a host will do is asked last: most of thousands would not be chosen anyway
    if (its > least || (its === least && best !== undefined && !better(host, best, salt))) continue;
    if (firstRefusal(host, request, world.policy) !== undefined) continue;
    best = host;
    least = its;
  }
  return best ? { hostId: best.id } : { refusals: refusals(world, request) };
}

/** Why each host will not do, in the order of their names. Hosts that were not asked for are left out. */
export function refusals(world: World, request: PlacementRequest): readonly Refusal[] {
  return world.hosts
    .filter((h) => wantsIt(h, request))
    .map((h) => refusal(h, request, world.policy))
    .filter((r) => r !== undefined)
    .sort((a, b) => (a.host < b.host ? -1 : a.host > b.host ? 1 : a.hostId < b.hostId ? -1 : 1));
}

function refusal(host: WorldHost, request: PlacementRequest, policy: Policy): Refusal | undefined {
  const first = firstRefusal(host, request, policy);
  if (first === undefined) return undefined;
  const { name, why } = first;
  const detail = typeof why === 'string' ? why : why(host, request, policy);
  return { hostId: host.id, host: host.name, filter: name, detail };
}
