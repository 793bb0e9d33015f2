/** In which order VMs that are placed together are placed, so that those with little choice are not late. Pure. */
import type { PlacementRequest } from './world.ts';

type Wish = Pick<PlacementRequest, 'hostId' | 'fits' | 'hostLabels' | 'ports' | 'memoryBytes' | 'vcpus' | 'diskBytes'>;

/** Places in `requests`: first those for one host, then those for some, the larger before the smaller; else as they came. */
export function planOrder(requests: readonly Wish[]): readonly number[] {
  return requests
    .map((r, at) => ({ r, at, choice: choiceOf(r) }))
    .sort(
      (a, b) =>
        a.choice - b.choice ||
        b.r.memoryBytes - a.r.memoryBytes ||
        b.r.vcpus - a.r.vcpus ||
        b.r.diskBytes - a.r.diskBytes ||
        a.at - b.at,
    )
    .map(({ at }) => at);
}

function choiceOf(r: Wish): number {
  if (r.hostId !== undefined) return 0;
  return r.fits !== undefined || r.hostLabels.length > 0 || (r.ports?.length ?? 0) > 0 ? 1 : 2;
}
