/**
 * What volumes in pools of files hold is overwritten where it lies, and the volume is blank afterwards, or its image again. The blank
 * file comes first, as in the host's own folder (drivers/linux/disks/changes/wipe.ts); the old one keeps another name until all of it is
 * overwritten. libvirt writes the zeros: the agent may have no right to, and libvirt's own wiping of a file with holes only cuts it off.
 *
 *   wiping: begun   the file may be under either name; a blank one takes its place before anything else is done with the volume
 *   wiping: blank   the volume is blank; what it held lies beside it until a wipe ends, or the volume goes
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../drivers/disks.ts';
import type { AllDisks } from '../drivers/volume-work.ts';
import { filledUp } from './block-volumes.ts';
import { fileIn } from './file-bytes.ts';
import type { BackingOf, FileRewriteDeps } from './file-rewrites.ts';
import { lookedAt } from './pool-marks.ts';
import { fileOf, wipedFileOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume } from './pool-store.ts';

/** Each run is an upload of its own, after which libvirt looks through the pool: holes of less than this are filled with zeros. */
const GAP_BYTES = 256 * 1024;
/** What is known to be done is told at least so often. */
const RUN_BYTES = 64 * 2 ** 20;

export class FileWipes {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: FileRewriteDeps,
    private readonly backing: BackingOf,
  ) {}

  /** As `VolumeWork.wipe`, of one that was settled. Begun and not ended: goes on. */
  async wipe(kept: KeptVolume, work: LongWork): Promise<void> {
    const { store, storage } = this.deps;
    const { volumeId } = kept;
    // one that is cancelled before it has its turn runs all the same, for the sake of what an agent before has begun
    const isLeft = kept.wiping !== undefined;
    if (work.signal.aborted && !isLeft) throw work.signal.reason;
    const pool = this.poolOf(kept);
    const uuid = await lookedAt(this.deps, pool);
    if (!isLeft) await this.begin(pool, kept, work.signal);
    await this.overwrite(uuid, wipedFileOf(volumeId), work);
    await storage.removeVolume(uuid, wipedFileOf(volumeId));
    const { wiping: _, ...rest } = store.volume(volumeId) ?? kept;
    await store.putVolume(rest);
    // what was written to it since a wipe that was broken off
    if (isLeft) await this.wipe(rest, work);
  }

  /** What was left of one that ended: the volume is as it was, or blank. */
  async settle(kept: KeptVolume): Promise<void> {
    if (kept.wiping !== 'begun') return;
    const { store, storage } = this.deps;
    const { wiping: _, ...rest } = kept;
    const pool = this.poolOf(kept);
    const uuid = await lookedAt(this.deps, pool);
    if (await storage.hasVolume(uuid, wipedFileOf(kept.volumeId))) await this.putBlank(pool, kept);
    else await store.putVolume(rest);
  }

  /** What it held, and no wipe has ended: it goes with the volume, as it is. */
  async removeLeft({ volumeId, poolId, wiping }: KeptVolume): Promise<void> {
    if (wiping) await this.deps.storage.removeVolume(poolUuid(poolId), wipedFileOf(volumeId));
  }

  private async begin(pool: KeptPool, kept: KeptVolume, signal: AbortSignal): Promise<void> {
    const { store, storage } = this.deps;
    await this.own.blocks.insistFree(fileIn(this.own, { ...kept, pool }), signal);
    // what cannot be put in its place is known before it is taken away
    await this.baseOf(pool, kept);
    // of a record that was lost: it would look as if this one had begun
    await storage.removeVolume(poolUuid(kept.poolId), wipedFileOf(kept.volumeId));
    const begun = { ...kept, wiping: 'begun' as const };
    await store.putVolume(begun);
    try {
      await storage.replaceVolume(poolUuid(kept.poolId), wipedFileOf(kept.volumeId), fileOf(kept));
      await this.putBlank(pool, begun);
    } catch (e) {
      // what cannot be settled now is on record, and is before anything else is done with it
      await this.settle(begun).catch(() => undefined);
      throw e;
    }
  }

  /** Its old file has the other name. On disk when this resolves. */
  private async putBlank(pool: KeptPool, kept: KeptVolume): Promise<void> {
    const { store, storage } = this.deps;
    const uuid = poolUuid(kept.poolId);
    const [name, { format = 'qcow2', sizeBytes: capacityBytes }] = [fileOf(kept), kept];
    const backingPath = await this.baseOf(pool, kept);
    await storage.removeVolume(uuid, name); // half of one, perhaps
    await storage.createVolume(uuid, { name, format, capacityBytes, backingPath });
    await this.sync(uuid, name);
    await store.putVolume({ ...kept, wiping: 'blank' });
  }

  /** What is zero already is passed over: holes stay holes, and what an agent before has overwritten is not written again. */
  private async overwrite(uuid: string, name: string, { signal, onProgress }: LongWork): Promise<void> {
    const { storage } = this.deps;
    const file = await storage.read(uuid, name);
    for await (const { at, bytes } of runsOf(file.pieces(signal))) {
      const sink = await storage.upload(uuid, name, bytes, at);
      await pipeline(Readable.from(filledUp([], bytes), { objectMode: false }), sink, { signal });
      onProgress(at + bytes, file.fileBytes);
    }
    await this.sync(uuid, name);
  }

  /** Else it would be gone before anything of it has reached the disk. */
  private async sync(uuid: string, name: string): Promise<void> {
    const { storage } = this.deps;
    const { fileBytes } = await storage.read(uuid, name);
    await storage.sync(await storage.pathOf(uuid, name), fileBytes);
  }

  private baseOf(pool: KeptPool, kept: KeptVolume): Promise<string | undefined> {
    return this.backing(pool, { ...kept, imageDigest: kept.imageDigest });
  }

  private poolOf({ volumeId, poolId }: KeptVolume): KeptPool {
    const pool = this.deps.store.pool(poolId);
    if (pool === undefined) throw badState(`volume ${volumeId}: its pool is not on ${this.deps.hostName}`);
    return pool;
  }
}

interface Run {
  readonly at: number;
  readonly bytes: number;
}

/** Where a file holds something, in runs that are worth a call each. Pure. */
export async function* runsOf(pieces: AsyncIterable<Piece> | Iterable<Piece>): AsyncGenerator<Run> {
  let at = 0;
  let run: Run | undefined;
  for await (const piece of pieces) {
    const [from, bytes] = [at, lengthOf(piece)];
    at += bytes;
    if (typeof piece === 'number') continue;
    const isNear = run !== undefined && from - (run.at + run.bytes) < GAP_BYTES && from - run.at < RUN_BYTES;
    if (run && !isNear) yield run;
    run = run && isNear ? { at: run.at, bytes: at - run.at } : { at: from, bytes };
  }
  if (run) yield run;
}
