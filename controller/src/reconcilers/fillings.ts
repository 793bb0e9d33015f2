/**
 * Sees that images go on being copied to hosts whose VMs rest on them although they are not whole there: a job that copies may
 * have failed, run into its deadline, or been lost with an older database.
 */
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { keepFetching } from '../jobs/clone-bases.ts';
import { fetchKey, type FetchParams } from '../jobs/image-fetch.ts';
import type { State, Tables } from '../state/state.ts';

export interface FillingDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn'>;
}

const LOOK_MS = 30_000;

export class FillingKeeper {
  private timer: Timer | undefined;

  constructor(private readonly deps: FillingDeps) {}

  follow(hosts: Pick<Hosts, 'status'>): () => void {
    const again = (): void => {
      this.timer = this.deps.clock.after(LOOK_MS, () => void this.look(hosts).finally(again));
    };
    again();
    return () => this.timer?.cancel();
  }

  /** Starts what is missing. */
  async look(hosts: Pick<Hosts, 'status'>): Promise<void> {
    const { state, log } = this.deps;
    const missing = missingIn(state.tables, hosts);
    if (missing.length === 0) return;
    await state
      .update((tx) => {
        for (const copy of missing) if (!tx.jobs.byKey(fetchKey(copy))) keepFetching(tx, copy, 'berth');
      })
      .catch((e: unknown) => log.warn(`images that vms rest on are not copied on: ${chain(e)}`));
  }
}

function missingIn(tables: Tables, hosts: Pick<Hosts, 'status'>): readonly FetchParams[] {
  const found = new Map<string, FetchParams>();
  for (const { phase, hostId, spec } of tables.vms.values()) {
    if (phase !== 'ready' || hostId === undefined) continue;
    for (const { imageId, poolId } of spec.disks) {
      if (imageId === undefined || poolId !== undefined || tables.imageCopies.get(imageCopyKey({ imageId, hostId })))
        continue;
      const copy = { imageId, hostId };
      if (tables.jobs.byKey(fetchKey(copy)) || tables.reviews.get(hostId)) continue;
      if (tables.images.get(imageId)?.state !== 'available' || hosts.status(hostId).state !== 'up') continue;
      found.set(fetchKey(copy), copy);
    }
  }
  return [...found.values()];
}
