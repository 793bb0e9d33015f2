/**
 * Sees that images go on being copied to hosts whose VMs and volumes rest on them although they are not whole there: a job that copies may
 * have failed, run into its deadline, or been lost with an older database; or somebody removed the file there by hand.
 */
import type { Log } from '@berth/shared/log/log.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { imageCopyKey, type ImageCopy } from '@berth/shared/model/image.ts';
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
  /** Copies that were missing at the last look: what has just come may not have been told of yet. */
  private lost: ReadonlySet<string> = new Set();

  constructor(private readonly deps: FillingDeps) {}

  follow(hosts: Pick<Hosts, 'status'>): () => void {
    return new Looks(this.deps, LOOK_MS, () => this.look(hosts), 'images that vms rest on are not copied on').begin();
  }

  /** Starts what is missing. */
  async look(hosts: Pick<Hosts, 'status'>): Promise<void> {
    const { state } = this.deps;
    await this.forgetLost(hosts);
    const missing = missingIn(state.tables, hosts);
    if (missing.length === 0) return;
    await state.update((tx) => {
      for (const copy of missing) if (!tx.jobs.byKey(fetchKey(copy))) keepFetching(tx, copy, 'berth');
    });
  }

  /** The inventory counted on them; what rests on them is copied there again, and what is made anew does not wait for them. */
  private async forgetLost(hosts: Pick<Hosts, 'status'>): Promise<void> {
    const { state } = this.deps;
    const lost = lostIn(state.tables, hosts);
    const again = lost.filter((copy) => this.lost.has(imageCopyKey(copy)));
    this.lost = new Set(lost.map(imageCopyKey));
    if (again.length === 0) return;
    await state.update((tx) => {
      for (const copy of again) {
        const image = tx.images.get(copy.imageId)?.name ?? copy.imageId;
        tx.imageCopies.delete(imageCopyKey(copy));
        tx.event({
          ...{ type: 'image.copy-lost', severity: 'warning', subjectKind: 'image', subject: image, jobId: undefined },
          message: `host ${tx.hosts.get(copy.hostId)?.name ?? copy.hostId} has its copy of image ${image} no more: somebody removed it there`,
        });
      }
    });
  }
}

/** Copies that their hosts say they have not, of images that another host has. */
function lostIn(tables: Tables, hosts: Pick<Hosts, 'status'>): readonly ImageCopy[] {
  const told = (hostId: HostId): boolean => {
    const { state, complete } = hosts.status(hostId);
    return state === 'up' && complete.has('images');
  };
  return [...tables.imageCopies.values()].filter(({ imageId, hostId }) => {
    const { digest = '', state } = tables.images.get(imageId) ?? {};
    const has = (id: HostId): boolean => hosts.status(id).imageDigests.has(digest);
    if (state !== 'available' || tables.reviews.get(hostId) || !told(hostId) || has(hostId)) return false;
    return tables.imageCopies.byImage(imageId).some((other) => told(other.hostId) && has(other.hostId));
  });
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
