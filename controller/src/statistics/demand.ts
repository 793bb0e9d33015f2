/**
 * Who looks at statistics: of which hosts somebody has lately asked for them, and how often these shall tell them therefore. Everybody
 * else who reads them (alarms, placement, the history) can do with fewer.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';

/** So many times less often where nobody looks. */
export const UNWATCHED = 3;
/** After a question, hosts go on for so many intervals: a table asks again, and asking hosts to change costs more than a few samples. */
const GRACE = 3;

export class Demand {
  private allAtMs = -Infinity;
  private readonly atMs = new Map<HostId, number>();

  /** @param everyMs how often hosts tell statistics while somebody looks. */
  constructor(
    private readonly clock: Pick<Clock, 'monotonic'>,
    readonly everyMs: number,
  ) {}

  /** Somebody looks now. @param hostId without: at all hosts. */
  look(hostId?: HostId): void {
    const nowMs = this.clock.monotonic();
    if (hostId === undefined) this.allAtMs = nowMs;
    else this.atMs.set(hostId, nowMs);
  }

  /** How often a host shall tell statistics now, in milliseconds. */
  intervalMs(hostId: HostId): number {
    const lastMs = Math.max(this.allAtMs, this.atMs.get(hostId) ?? -Infinity);
    const isWatched = this.clock.monotonic() - lastMs < GRACE * this.everyMs;
    if (!isWatched) this.atMs.delete(hostId);
    return isWatched ? this.everyMs : UNWATCHED * this.everyMs;
  }
}
