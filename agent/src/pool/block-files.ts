/**
 * Files and volumes that are none: a file for somebody outside, or for an image, is made of one, and a file that somebody sent becomes one. What the
 * file is, and whether it may be let in, others have looked at: here it is raw. LUNs are read, and nothing is put in their place. Of what is a file
 * in a pool one for somebody outside is made in the same way.
 */
import { badState, ClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { holdsUnits } from '@berth/shared/model/pool.ts';
import type { ExportedFile, LongWork, VolumeSpec } from '../drivers/disks.ts';
import type { AllDisks, FileFormat, ReadDisk, VolumeFile } from '../drivers/volume-work.ts';
import { readBlocks } from './block-bytes.ts';
import { fileContent, type BlockVolumeDeps, type BlockVolumes } from './block-volumes.ts';
import { fileIn, readFileIn } from './file-bytes.ts';
import { insistMark, type MarkCheck } from './pool-marks.ts';
import { insistSame, keptOf } from './pool-paths.ts';
import type { KeptPool, KeptVolume } from './pool-store.ts';
import { insistUnit } from './unit-volumes.ts';

type InPool = VolumeSpec & { readonly poolId: string };

/** As it is kept when it is made: raw, and based on nothing. */
export const keptBlock = (spec: InPool): KeptVolume => ({
  ...keptOf({ ...spec, imageDigest: undefined }),
  ...{ format: 'raw', block: true },
});

export class BlockFiles {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: BlockVolumeDeps & MarkCheck,
    private readonly blocks: BlockVolumes,
  ) {}

  /** As `VolumeWork.export`. */
  async export(exportId: string, kept: KeptVolume, format: FileFormat, work: LongWork): Promise<ExportedFile> {
    return this.own.blocks.exportDisk(exportId, await this.readable(kept), format, work);
  }

  /** As `Disks.captureVolume`. */
  async capture(uploadId: string, kept: KeptVolume, work: LongWork): Promise<void> {
    await this.own.blocks.captureDisk(uploadId, await this.readable(kept), work);
  }

  /** As `Disks.captureSnapshot`. @throws UNSUPPORTED: it is raw */
  async captureSnapshot(uploadId: string, kept: KeptVolume, snapshot: string, work: LongWork): Promise<void> {
    if (kept.block) throw unsupported(`volume ${kept.volumeId} is raw: there is no snapshot in it`);
    const pool = this.poolOf(kept);
    await insistMark(this.deps, pool);
    await this.own.blocks.captureSnapshot(uploadId, { file: fileIn(this.own, { ...kept, pool }), snapshot }, work);
  }

  /** @throws BAD_STATE: it is not whole, or what is there is another */
  private async readable(kept: KeptVolume): Promise<ReadDisk> {
    const { volumeId, sizeBytes, cleanBytes } = kept;
    if (cleanBytes !== undefined)
      throw badState(`volume ${volumeId} is not whole: it was being made larger. Do that again (berth volume resize)`);
    const pool = this.poolOf(kept);
    await (kept.unit ? insistUnit(this.deps, kept) : insistMark(this.deps, pool));
    const read = kept.block ? readBlocks : readFileIn;
    const pieces = (signal: AbortSignal) => read(this.own, this.deps, { ...kept, pool }, signal);
    return { volumeId, sizeBytes, pieces };
  }

  private poolOf({ volumeId, poolId }: KeptVolume): KeptPool {
    const pool = this.deps.store.pool(poolId);
    if (pool === undefined) throw badState(`volume ${volumeId}: its pool is not on ${this.deps.hostName}`);
    return pool;
  }

  /** As `VolumeWork.install`, of a raw file. */
  async install(pool: KeptPool, spec: InPool, file: VolumeFile, work: LongWork): Promise<void> {
    const { name, source } = pool.spec;
    if (holdsUnits(source.type))
      throw new ClusterError('UNSUPPORTED', `pool ${name} is of type ${source.type}: nothing is made in it`);
    const kept = keptBlock(spec);
    const there = this.deps.store.volume(spec.volumeId);
    if (there) insistSame(there, kept);
    else await insistMark(this.deps, pool);
    await this.blocks.ensure(pool, spec, kept, { content: fileContent(this.own, spec, file), work });
  }
}
