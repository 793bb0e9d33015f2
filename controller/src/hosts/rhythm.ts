/**
 * How often one host tells statistics over one connection: keeps what its agent was told in step with what is wanted now. What that is,
 * and when to look, is others'. An agent that cannot be told goes on as its watch was opened.
 */
import { WatchServiceService } from '@berth/proto/agent/v1/watch.ts';
import type { Connection } from './connection.ts';
import type { FenceSource } from './fence.ts';

export const RHYTHM_CAPABILITY = 'statistics.interval';
const TIMEOUT_MS = 10_000;

export class Rhythm {
  /** @param told what the watch was opened with, in milliseconds. */
  constructor(
    private readonly connection: Pick<Connection, 'unary'>,
    private readonly fence: FenceSource,
    private told: number,
  ) {}

  /** @returns whether the agent had to be told. Where that fails, the next look tells it again. */
  keep(wantedMs: number): boolean {
    if (wantedMs === this.told) return false;
    this.told = wantedMs;
    const request = { fence: this.fence(), intervalMs: BigInt(wantedMs) };
    this.connection.unary(WatchServiceService.setStatisticsInterval, request, TIMEOUT_MS).catch(() => {
      if (this.told === wantedMs) this.told = NaN;
    });
    return true;
  }
}
