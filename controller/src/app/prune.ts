/** Cleaning up: copies of images that nothing needs, and images that were made to clone a VM. Starts jobs; talks to no host. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { imageCopyKey, type Image, type ImageCopy } from '@berth/shared/model/image.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { imageDelete } from '../jobs/image-delete.ts';
import { imageEvict } from '../jobs/image-evict.ts';
import type { State, Tables, Tx } from '../state/state.ts';
import { planPrune, type CopyFacts, type Judged } from './prune-plan.ts';

export interface PruneDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'status'>;
  readonly jobs: Pick<Jobs, 'start'>;
  readonly clock: Clock;
}

export interface PruneWanted {
  /** Copies that nothing has needed for so long. Infinity: none for that. */
  readonly unusedMs: number;
  readonly dryRun: boolean;
}

export interface Pruned {
  readonly images: readonly string[];
  readonly host: string;
  readonly fileBytes: number;
  readonly verdict: Judged['verdict'];
  readonly jobId: JobId | undefined;
}

/** Below this share of free room, copies go that have not been needed for an hour. */
const SHORT_OF_ROOM = 0.1;
const SHORT_UNUSED_MS = 3_600_000;
/** Between the capture of a VM and its clones. */
const HIDDEN_KEPT_MS = 10 * 60_000;

export class Prune {
  constructor(private readonly deps: PruneDeps) {}

  async run(wanted: PruneWanted, user: string): Promise<readonly Pruned[]> {
    const { state } = this.deps;
    if (wanted.dryRun) {
      const plan = this.#plan(wanted.unusedMs).map((c) => this.#told(c, undefined));
      await state.settled();
      return plan;
    }
    const plan = this.#plan(wanted.unusedMs);
    const started = new Map<string, JobId | undefined>();
    for (const digest of new Set(plan.filter((c) => c.verdict === 'remove').map((c) => c.digest)))
      started.set(digest, await this.#evict(digest, plan, user));
    return plan.map((c) => this.#told(c, c.verdict === 'remove' ? started.get(c.digest) : undefined));
  }

  /** One job for all hosts: two would wait for each other. */
  #evict(digest: string, plan: readonly Judged[], user: string): Promise<JobId | undefined> {
    const going = plan.filter((c) => c.digest === digest && c.verdict === 'remove');
    const images = this.deps.state.tables.images.byDigest(digest);
    const params = { digest, hostIds: going.map((c) => c.hostId), imageIds: images.map((i) => i.id) };
    const locks = images.map((i) => `image/${i.id}:exclusive` as const);
    const subject = images.map((i) => i.name).join(', ');
    return this.#unlessBusy((tx) => this.deps.jobs.start(tx, imageEvict, params, { subject, locks, user }));
  }

  /** Removes what was captured to clone VMs, and is the base of nothing any more. */
  async hidden(user: string): Promise<void> {
    const { state, jobs, clock } = this.deps;
    for (const image of unneededHidden(state.tables, clock.now()))
      await this.#unlessBusy((tx) => {
        const locks = [`image/${image.id}:exclusive` as const];
        return jobs.start(tx, imageDelete, { imageId: image.id }, { subject: image.name, locks, user });
      });
  }

  /** Writes down of each copy since when nothing has needed it; only what has changed. */
  async note(): Promise<void> {
    const { state, clock } = this.deps;
    const changed = [...state.tables.imageCopies.values()].flatMap((copy) => noted(state.tables, copy, clock.now()));
    if (changed.length === 0) return;
    await state.update((tx) => {
      for (const copy of changed) if (tx.imageCopies.get(imageCopyKey(copy))) tx.imageCopies.put(copy);
    });
  }

  #plan(unusedMs: number): readonly Judged[] {
    const { tables } = this.deps.state;
    const keep = (digest: string): number =>
      Math.max(1, ...tables.images.byDigest(digest).map((i) => i.keepCopies ?? 1));
    return planPrune(this.#facts(), { unusedMs, shortUnusedMs: SHORT_UNUSED_MS, keep });
  }

  #facts(): readonly CopyFacts[] {
    const { state, hosts, clock } = this.deps;
    const { tables } = state;
    const groups = new Map<string, ImageCopy[]>();
    for (const copy of tables.imageCopies.values()) {
      const digest = tables.images.get(copy.imageId)?.digest;
      if (digest === undefined) continue;
      const key = `${copy.hostId}/${digest}`;
      groups.set(key, [...(groups.get(key) ?? []), copy]);
    }
    return [...groups.entries()].map(([key, copies]) => {
      const { hostId, fileBytes } = copies[0]!;
      const status = hosts.status(hostId);
      const imageIds = copies.map((c) => c.imageId);
      const used = imageIds.some((id) => needs(tables, id, hostId));
      const busy = imageIds.some((id) => isBusy(tables, id));
      const figures = status.statistics ?? status.facts;
      return {
        ...{ digest: key.slice(hostId.length + 1), hostId, imageIds, fileBytes },
        needed: used ? ('used' as const) : busy ? ('busy' as const) : undefined,
        unusedMs: Math.min(...copies.map((c) => clock.now() - (c.unusedSinceMs ?? clock.now()))),
        up: status.state === 'up' && !tables.reviews.get(hostId),
        short: figures !== undefined && figures.diskFreeBytes < SHORT_OF_ROOM * figures.diskBytes,
      };
    });
  }

  #told(c: Judged, jobId: JobId | undefined): Pruned {
    const host = this.deps.state.tables.hosts.get(c.hostId)?.name ?? c.hostId;
    return { images: this.#names(c), host, fileBytes: c.fileBytes, verdict: c.verdict, jobId };
  }

  #names = (c: CopyFacts): string[] => c.imageIds.flatMap((id) => this.deps.state.tables.images.get(id)?.name ?? []);

  async #unlessBusy(start: (tx: Tx) => JobId): Promise<JobId | undefined> {
    try {
      return await this.deps.state.update(start);
    } catch (e) {
      if (isClusterError(e, 'RESOURCE_BUSY')) return undefined;
      throw e instanceof ClusterError
        ? e
        : new ClusterError('INTERNAL', 'a copy could not be cleaned up', {}, { cause: e });
    }
  }
}

/** Whether anything on that host is based on the image, or has it in a drive. What has no host yet may come there. */
function needs(tables: Tables, imageId: Image['id'], hostId: HostId): boolean {
  const there = (o: { readonly hostId: HostId | undefined }): boolean => o.hostId === hostId || o.hostId === undefined;
  return tables.vms.byImage(imageId).some(there) || tables.volumes.byImage(imageId).some(there);
}

const isBusy = (tables: Tables, imageId: Image['id']): boolean =>
  tables.images.get(imageId)?.state !== 'available' || tables.jobs.holders(`image/${imageId}`).length > 0;

function noted(tables: Tables, copy: ImageCopy, nowMs: number): ImageCopy[] {
  const used = needs(tables, copy.imageId, copy.hostId) || isBusy(tables, copy.imageId);
  const { unusedSinceMs, ...rest } = copy;
  if (used) return unusedSinceMs === undefined ? [] : [rest];
  return unusedSinceMs === undefined ? [{ ...rest, unusedSinceMs: nowMs }] : [];
}

/** An image that another one needs for its clones' further disks stays as long as that one. */
export function unneededHidden(tables: Tables, nowMs: number): readonly Image[] {
  const hidden = [...tables.images.values()].filter((i) => i.hidden === true && i.state === 'available');
  const named = new Set(hidden.flatMap((i) => (i.defaults?.disks ?? []).flatMap((d) => d.image ?? [])));
  const needed = (i: Image): boolean =>
    tables.vms.byImage(i.id).length > 0 || tables.volumes.byImage(i.id).length > 0 || isBusy(tables, i.id);
  return hidden.filter((i) => !named.has(i.id) && !needed(i) && nowMs - i.createdAtMs > HIDDEN_KEPT_MS);
}
