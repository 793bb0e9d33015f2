/** That a restore has put the record of a host back to an older day: nothing is done there unasked until people have looked. Plain data. */
import type { HostId } from './ids.ts';

/** One per host that the backup knew. Key: host id. Gone when somebody has accepted what the host has. */
export interface Review {
  readonly hostId: HostId;
  readonly restoredAtMs: number;
  /** When the backup was made: what the hosts did since then is not in the inventory. */
  readonly backupAtMs: number;
}
