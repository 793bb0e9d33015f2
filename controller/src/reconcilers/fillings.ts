/**
 * Sees that images go on being copied to hosts whose VMs and volumes rest on them although they are not whole there: a job that copies may
 * have failed, run into its deadline, or been lost with an older database.
 */
import type { Log } from '@berth/shared/log/log.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { keepFetching } from '../jobs/clone-bases.ts';
import { fetchKey, type FetchParams } from '../jobs/image-fetch.ts';
import type { State, Tables } from '../state/state.ts';
import { Looks } from './looks.ts';

export interface FillingDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_MS = 30_000;

export class FillingKeeper {
  constructor(private readonly deps: FillingDeps) {}

  follow(hosts: Pick<Hosts, 'status'>): () => void {
    return new Looks(this.deps, LOOK_MS, () => this.look(hosts), 'images that vms rest on are not copied on').begin();
  }

  /** Starts what is missing. */
  async look(hosts: Pick<Hosts, 'status'>): Promise<void> {
    const { state } = this.deps;
    const missing = missingIn(state.tables, hosts);
    if (missing.length === 0) return;
    await state.update((tx) => {
      for (const copy of missing) if (!tx.jobs.byKey(fetchKey(copy))) keepFetching(tx, copy, 'berth');
    });
  }
}

function missingIn(tables: Tables, hosts: Pick<Hosts, 'status'>): readonly FetchParams[] {
  const found = new Map<string, FetchParams>();
  for (const { imageId, hostId, poolId } of rows(tables)) {
    if (imageId === undefined || hostId === undefined || poolId !== undefined) continue;
    const copy = { imageId, hostId };
    if (tables.imageCopies.get(imageCopyKey(copy))) continue;
    if (tables.jobs.byKey(fetchKey(copy)) || tables.reviews.get(hostId)) continue;
    if (tables.images.get(imageId)?.state !== 'available' || hosts.status(hostId).state !== 'up') continue;
    found.set(fetchKey(copy), copy);
  }
  return [...found.values()];
}

type OnImage = Pick<Volume, 'imageId' | 'hostId' | 'poolId'>;

/** Disks of VMs, and volumes that stand alone. */
function* rows(tables: Tables): Generator<OnImage> {
  for (const { phase, hostId, spec } of tables.vms.values())
    if (phase === 'ready') for (const { imageId, poolId } of spec.disks) yield { imageId, hostId, poolId };
  for (const volume of tables.volumes.values()) if (volume.state === 'ready') yield volume;
}
