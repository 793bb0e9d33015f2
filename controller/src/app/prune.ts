/** Cleaning up: copies of images that nothing needs, and images that were made to clone a VM. Starts jobs; talks to no host. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId, JobId } from '@berth/shared/model/ids.ts';
import { imageCopyKey, type Image, type ImageCopy } from '@berth/shared/model/image.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { neededOn } from '../jobs/copies-wanted.ts';
import { imageDelete } from '../jobs/image-delete.ts';
import { imageEvict } from '../jobs/image-evict.ts';
import type { State, Tables, Tx } from '../state/state.ts';
import { resolve } from './names.ts';
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
  /** Of these alone, by name or id; absent or empty: of all. */
  readonly images?: readonly string[];
  readonly hosts?: readonly string[];
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
const CHUNK = 2_000;
/** Between the capture of a VM and its clones. */
const HIDDEN_KEPT_MS = 10 * 60_000;

export class Prune {
  constructor(private readonly deps: PruneDeps) {}

  /** @throws NOT_FOUND when an image or a host that is named is not there. */
  async run(wanted: PruneWanted, user: string): Promise<readonly Pruned[]> {
    const { state } = this.deps;
    const plan = await this.#plan(wanted);
    if (wanted.dryRun) {
      await state.settled();
      return plan.map((c) => this.#told(c, undefined));
    }
    const started = new Map<string, JobId | undefined>();
    const going = grouped(plan, (c) => (c.verdict === 'remove' ? c.digest : undefined));
    for (const [digest, copies] of going) started.set(digest, await this.#evict(digest, copies, user));
    return plan.map((c) => this.#told(c, c.verdict === 'remove' ? started.get(c.digest) : undefined));
  }

  /** One job for all hosts: two would wait for each other. */
  #evict(digest: string, going: readonly Judged[], user: string): Promise<JobId | undefined> {
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
    const needs = new Needs(state.tables);
    await this.#inChunks([...state.tables.imageCopies.values()], async (copies) => {
      const changed = copies.flatMap((copy) => noted(needs, copy, clock.now()));
      if (changed.length === 0) return;
      await state.update((tx) => {
        for (const copy of changed) if (tx.imageCopies.get(imageCopyKey(copy))) tx.imageCopies.put(copy);
      });
    });
  }

  async #plan({ unusedMs, images = [], hosts = [] }: PruneWanted): Promise<readonly Judged[]> {
    const { tables } = this.deps.state;
    const digests = new Set(images.map((name) => resolve('image', tables.images, name).digest));
    const hostIds = new Set(hosts.map((name) => resolve('host', tables.hosts, name).id));
    const isChosen = (c: CopyFacts): boolean =>
      (images.length === 0 || digests.has(c.digest)) && (hosts.length === 0 || hostIds.has(c.hostId));
    const keep = (digest: string): number =>
      Math.max(1, ...tables.images.byDigest(digest).map((i) => i.keepCopies ?? 1));
    return planPrune(await this.#facts(), { unusedMs, shortUnusedMs: SHORT_UNUSED_MS, keep, isChosen });
  }

  async #facts(): Promise<readonly CopyFacts[]> {
    const { tables } = this.deps.state;
    const needs = new Needs(tables);
    const room = new Map<HostId, Room>();
    const files = grouped(tables.imageCopies.values(), ({ imageId, hostId }) => {
      const digest = tables.images.get(imageId)?.digest;
      return digest === undefined ? undefined : `${hostId}/${digest}`;
    });
    const facts: CopyFacts[] = [];
    await this.#inChunks([...files], async (some) => {
      for (const [key, copies] of some) facts.push(this.#factsOf(key, copies, needs, room));
    });
    return facts;
  }

  /** @param copies of one content on one host: the key has both. */
  #factsOf(key: string, copies: readonly ImageCopy[], needs: Needs, known: Map<HostId, Room>): CopyFacts {
    const { clock, state } = this.deps;
    const { hostId, fileBytes } = copies[0]!;
    const digest = key.slice(hostId.length + 1);
    const imageIds = copies.map((c) => c.imageId);
    // a disk in a pool there rests on an image of this content that has no copy on the host itself: the job asks for all of them too
    const all = state.tables.images.byDigest(digest);
    const used = all.some(({ id }) => needs.on(id, hostId));
    const busy = all.some(({ id }) => needs.isBusy(id));
    const room = known.get(hostId) ?? this.#roomOf(hostId);
    known.set(hostId, room);
    return {
      ...{ digest, hostId, imageIds, fileBytes },
      needed: used ? ('used' as const) : busy ? ('busy' as const) : undefined,
      unusedMs: Math.min(...copies.map((c) => clock.now() - (c.unusedSinceMs ?? clock.now()))),
      ...room,
    };
  }

  #roomOf(hostId: HostId): Room {
    const { state, hosts } = this.deps;
    const status = hosts.status(hostId);
    const figures = status.statistics ?? status.facts;
    return {
      up: status.state === 'up' && !state.tables.reviews.get(hostId),
      short: figures !== undefined && figures.diskFreeBytes < SHORT_OF_ROOM * figures.diskBytes,
    };
  }

  /** Of many it lets others have their turn in between. */
  async #inChunks<T>(all: readonly T[], work: (some: readonly T[]) => Promise<void>): Promise<void> {
    for (let at = 0; at < all.length; at += CHUNK) {
      if (at > 0) await this.deps.clock.sleep(0);
      await work(all.slice(at, at + CHUNK));
    }
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

type Room = Pick<CopyFacts, 'up' | 'short'>;

function grouped<V>(all: Iterable<V>, keyOf: (v: V) => string | undefined): ReadonlyMap<string, readonly V[]> {
  const groups = new Map<string, V[]>();
  for (const v of all) {
    const key = keyOf(v);
    const group = key === undefined ? undefined : groups.get(key);
    if (group) group.push(v);
    else if (key !== undefined) groups.set(key, [v]);
  }
  return groups;
}

/** What is asked of each copy is looked up once for each image. */
class Needs {
  readonly #on = new Map<ImageId, (hostId: HostId) => boolean>();
  readonly #busy = new Map<ImageId, boolean>();

  constructor(private readonly tables: Tables) {}

  on(imageId: ImageId, hostId: HostId): boolean {
    const on = this.#on.get(imageId) ?? neededOn(this.tables, imageId);
    this.#on.set(imageId, on);
    return on(hostId);
  }

  isBusy(imageId: ImageId): boolean {
    const busy = this.#busy.get(imageId) ?? isBusy(this.tables, imageId);
    this.#busy.set(imageId, busy);
    return busy;
  }
}

const isBusy = (tables: Tables, imageId: ImageId): boolean =>
  tables.images.get(imageId)?.state !== 'available' || tables.jobs.holders(`image/${imageId}`).length > 0;

function noted(needs: Needs, copy: ImageCopy, nowMs: number): ImageCopy[] {
  const used = needs.on(copy.imageId, copy.hostId) || needs.isBusy(copy.imageId);
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
