/**
 * Files of volumes in pools written anew: in another format, without what is zero, smaller, without their image. The new file is made
 * in the host's own folder (drivers/linux/disks/changes/pool-file.ts), goes into the pool under a name of its own, and takes the place
 * of the old one when all of it is there. What was begun is on record, so that one that ended leaves the old file or the new one:
 *
 *   next           the new file comes; it goes when nobody goes on with it
 *   next, whole    it is there: where its own name is gone, it is the volume
 *   former         it is the volume; the file of the other format has to go
 */
import { badState, ClusterError, invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { LongWork, VolumeFormat, VolumeSpec } from '../drivers/disks.ts';
import type { Storage } from '../drivers/storage.ts';
import { formatOf, type AllDisks, type RewriteSpec, type StagedDisk, type VolumeFile } from '../drivers/volume-work.ts';
import { fileIn } from './file-bytes.ts';
import { lookedAt, type MarkCheck } from './pool-marks.ts';
import { fileOf, newFileOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume, PoolStore } from './pool-store.ts';

export interface FileRewriteDeps extends MarkCheck {
  readonly store: PoolStore;
}

/** File of the image below one. */
export type BackingOf = (pool: KeptPool, spec: VolumeSpec) => Promise<string | undefined>;

/** What it shall be. */
interface Shall {
  readonly format: VolumeFormat;
  readonly imageDigest: string | undefined;
  readonly sizeBytes: number;
}

type Next = NonNullable<KeptVolume['next']>;
export type MayReplace = (() => Promise<void>) | undefined;

export class FileRewrites {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: FileRewriteDeps,
    private readonly backing: BackingOf,
  ) {}

  /** As `VolumeWork.rewrite`, of one that was settled. */
  async rewrite(kept: KeptVolume, wanted: RewriteSpec, work: LongWork, mayReplace: MayReplace): Promise<void> {
    const { volumeId, sizeBytes, imageDigest: was } = kept;
    const { format, imageDigest } = wanted;
    if (format !== 'qcow2' && format !== 'raw')
      throw unsupported(`volume ${volumeId} lies in a pool: as ${format} volumes are kept in pool local only`);
    if (wanted.ifOther && format === formatOf(kept) && imageDigest === was) return;
    if (imageDigest !== undefined && format === 'raw')
      throw invalidArgument(`volume ${volumeId} cannot be raw: what is based on an image is qcow2`);
    if (imageDigest !== undefined && was !== undefined && was !== imageDigest)
      throw badState(`volume ${volumeId} is based on image ${was}, and on no other`);
    await this.anew(kept, { format, imageDigest, sizeBytes }, work, mayReplace);
  }

  /** Smaller, where nothing is cut off. @throws BAD_STATE */
  async shrink(kept: KeptVolume, sizeBytes: number, work: LongWork, mayReplace: MayReplace): Promise<void> {
    const { volumeId, imageDigest } = kept;
    const image = (await this.own.listImages()).find((i) => i.digest === imageDigest);
    if (image && sizeBytes < image.virtualSizeBytes)
      throw badState(
        `volume ${volumeId} cannot become smaller: the image below it has ${formatBytes(image.virtualSizeBytes)}`,
      );
    await this.anew(kept, { format: formatOf(kept), imageDigest, sizeBytes }, work, mayReplace);
  }

  /** What was left of one that ended: it is the old file, or the new one. @returns whether it is the new one since now */
  async settle(kept: KeptVolume): Promise<boolean> {
    const { next, former, ...rest } = kept;
    if (next === undefined && former === undefined) return false;
    const uuid = await lookedAt(this.deps, this.poolOf(kept));
    const isNamed = next !== undefined && (await this.deps.storage.hasVolume(uuid, newFileOf(kept.volumeId)));
    // of another format it has not taken the place of the old file, which is there still
    if (next !== undefined && isReplaced(kept) && !isNamed) {
      await this.becomes(kept, next);
      return true;
    }
    await this.removeLeft(kept);
    await this.deps.store.putVolume(rest);
    return false;
  }

  /** All that lies beside its file. */
  async removeLeft(kept: KeptVolume): Promise<void> {
    const { next } = kept;
    if (next) await this.dropNew(kept, next);
    if (kept.former) await this.dropFormer(kept);
  }

  private async anew(kept: KeptVolume, shall: Shall, work: LongWork, mayReplace: MayReplace): Promise<void> {
    const pool = this.poolOf(kept);
    await lookedAt(this.deps, pool);
    const base = await this.backing(pool, { ...kept, ...shall });
    const smaller = shall.sizeBytes < kept.sizeBytes && { sizeBytes: shall.sizeBytes };
    const wanted = { format: shall.format, base, ...smaller };
    const staged = await this.own.blocks.rewriteFile(fileIn(this.own, { ...kept, pool }), wanted, half(work, 0));
    try {
      const uuid = await lookedAt(this.deps, pool);
      await insistPoolRoom(this.deps.storage, pool, staged.allocatedBytes, `volume ${kept.volumeId}`);
      const next = nextOf(shall);
      await this.deps.store.putVolume({ ...kept, next });
      await this.carryIn(uuid, kept.volumeId, staged, half(work, 1));
      await mayReplace?.();
      if (work.signal.aborted) throw work.signal.reason;
      await this.take(uuid, kept, next);
    } catch (e) {
      await this.giveUp(kept.volumeId, e);
    } finally {
      await staged.close();
    }
  }

  private async carryIn(uuid: string, volumeId: string, staged: StagedDisk, work: LongWork): Promise<void> {
    const { storage } = this.deps;
    const name = newFileOf(volumeId);
    await storage.removeVolume(uuid, name);
    await storage.createVolume(uuid, { name, format: 'raw', capacityBytes: staged.fileBytes });
    await storage.write(uuid, name, counted(staged.pieces(work.signal), staged.fileBytes, work), staged.fileBytes);
  }

  /** From here on it is the new file, or still the old one, at any moment. */
  private async take(uuid: string, old: KeptVolume, next: Next): Promise<void> {
    const kept = { ...old, next: { ...next, whole: true as const } };
    const { volumeId } = kept;
    await this.deps.store.putVolume(kept);
    await this.deps.storage.replaceVolume(uuid, fileOf({ volumeId, format: next.format }), newFileOf(volumeId));
    await this.becomes(kept, next);
  }

  private async becomes(kept: KeptVolume, next: Next): Promise<void> {
    const { store } = this.deps;
    const { next: _next, former: _former, format: was, imageDigest: _image, ...rest } = kept;
    const { whole: _whole, ...shape } = next;
    const now = { ...rest, ...shape };
    if (was !== now.format) {
      const changed = { ...now, former: was ?? ('qcow2' as const) };
      await store.putVolume(changed);
      await this.dropFormer(changed);
    }
    await store.putVolume(now);
  }

  /** @throws what it ended with, unless the new file had taken its place by then */
  private async giveUp(volumeId: string, e: unknown): Promise<void> {
    const left = this.deps.store.volume(volumeId);
    // what cannot be cleared away now is on record, and goes before anything else is done with it
    const isNew = left !== undefined && (await this.settle(left).catch(() => false));
    if (!isNew) throw e;
  }

  /** Nothing says any more that it is whole before it goes: else it would look as if it had taken its place. */
  private async dropNew(kept: KeptVolume, { whole, ...next }: Next): Promise<void> {
    const { store, storage } = this.deps;
    const { volumeId, poolId } = kept;
    if (whole) await store.putVolume({ ...kept, next });
    const uuid = poolUuid(poolId);
    await storage.removeVolume(uuid, newFileOf(volumeId));
    if (next.format !== kept.format) await storage.removeVolume(uuid, fileOf({ volumeId, format: next.format }));
  }

  private async dropFormer({ volumeId, poolId, former, format }: KeptVolume): Promise<void> {
    if (former === undefined || former === formatOf({ format })) return;
    const name = fileOf({ volumeId, format: former === 'raw' ? 'raw' : undefined });
    await this.deps.storage.removeVolume(poolUuid(poolId), name);
  }

  private poolOf({ volumeId, poolId }: KeptVolume): KeptPool {
    const pool = this.deps.store.pool(poolId);
    if (pool === undefined) throw badState(`volume ${volumeId}: its pool is not on ${this.deps.hostName}`);
    return pool;
  }
}

/** One file or the other is behind its name, or none, and only a look at the pool tells which. */
export const isUnsettled = ({ wiping, ...kept }: KeptVolume): boolean => isReplaced(kept) || wiping === 'begun';

const isReplaced = ({ next, format }: Pick<KeptVolume, 'next' | 'format'>): boolean =>
  next?.whole === true && next.format === format;

const nextOf = ({ format, imageDigest, sizeBytes }: Shall): Next => ({
  ...(format === 'raw' && { format }),
  ...(imageDigest !== undefined && { imageDigest }),
  sizeBytes,
});

/** @throws DISK_FULL */
export async function insistPoolRoom(
  storage: Pick<Storage, 'look'>,
  { spec }: KeptPool,
  neededBytes: number,
  what: string,
): Promise<void> {
  const free = (await storage.look(poolUuid(spec.poolId)))?.availableBytes ?? 0;
  if (neededBytes <= free) return;
  throw new ClusterError(
    'DISK_FULL',
    `no room for the new file of ${what}: ${formatBytes(neededBytes)} needed, ${formatBytes(free)} free in pool ${spec.name}`,
    { neededBytes: String(neededBytes), freeBytes: String(free) },
  );
}

/** One of two parts of the work, each over all of it. */
export const half = ({ signal, onProgress }: LongWork, which: 0 | 1): LongWork => ({
  signal,
  onProgress: (done, total) => onProgress(Math.floor((done + which * total) / 2), total),
});

export async function* counted(
  pieces: ReturnType<VolumeFile['pieces']>,
  totalBytes: number,
  work: LongWork,
): AsyncGenerator<Piece> {
  let done = 0;
  for await (const piece of pieces) {
    if (work.signal.aborted) throw work.signal.reason;
    yield piece;
    done += lengthOf(piece);
    work.onProgress(done, totalBytes);
  }
}
