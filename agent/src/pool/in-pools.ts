/**
 * Volumes of ours in pools: made, read, written and removed there by libvirt. In a pool of one host a disk over an image is an overlay of
 * the host's own copy; in a shared one, of the copy in the pool, so that every host of the pool can run it.
 */
import {
  badState,
  ClusterError,
  invalidArgument,
  isClusterError,
  notFound,
} from '@berth/shared/errors/cluster-error.ts';
import { rebased } from '@berth/shared/disk/qcow2-rebase.ts';
import { hasFiles } from '@berth/shared/model/pool.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { checkCarriedLength, withCheckedHead } from '../drivers/carried.ts';
import type { BlockSource, ExportedFile, KeptFormat, LongWork, VolumeSeen, VolumeSpec } from '../drivers/disks.ts';
import {
  DEFAULT_CLUSTER_BYTES,
  type AllDisks,
  type FileFormat,
  type MakeSpec,
  type RewriteSpec,
  type VolumeFile,
} from '../drivers/volume-work.ts';
import { BlockFiles, keptBlock } from './block-files.ts';
import { BlockVolumes, notOurs } from './block-volumes.ts';
import { counted, FileRewrites, half, insistPoolRoom, isUnsettled, type BackingOf } from './file-rewrites.ts';
import { FileWipes } from './file-wipes.ts';
import { imageFile } from './pool-images.ts';
import { insistMark, type MarkCheck } from './pool-marks.ts';
import { blockPathOf, blockSourceOf, checkSame, fileOf, insistSame, isOfBlocks, keptOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume, PoolStore } from './pool-store.ts';
import type { PoolWatch } from './pool-watch.ts';
import { ensureUnit, insistUnit } from './unit-volumes.ts';

export interface PoolVolumeDeps extends MarkCheck {
  readonly store: PoolStore;
  readonly watch: Pick<PoolWatch, 'volume'>;
}

export class PoolVolumes {
  private readonly blocks: BlockVolumes;
  private readonly blockFiles: BlockFiles;
  private readonly rewrites: FileRewrites;
  private readonly wipes: FileWipes;

  constructor(
    private readonly own: AllDisks,
    private readonly deps: PoolVolumeDeps,
  ) {
    this.blocks = new BlockVolumes(own, deps);
    this.blockFiles = new BlockFiles(own, deps, this.blocks);
    const backing: BackingOf = (pool, spec) => this.backing(pool, spec);
    this.rewrites = new FileRewrites(own, deps, backing);
    this.wipes = new FileWipes(own, deps, backing);
  }

  list = (): readonly VolumeSeen[] => this.deps.store.volumes().flatMap((v) => this.find(v.volumeId) ?? []);

  /** A copy of its image, which rests on nothing: made in the host's own folder, and carried into the pool. Twice is once. */
  async ensureFull(
    spec: VolumeSpec & { readonly poolId: string; readonly imageDigest: string },
    work: LongWork,
  ): Promise<void> {
    const { storage, store } = this.deps;
    const whole = { ...spec, imageDigest: undefined };
    const there = store.volume(spec.volumeId);
    if (there) checkSame(there, whole);
    if (there && !there.unfinished) return;
    const pool = this.pool(spec);
    const image = (await this.own.listImages()).find((i) => i.digest === spec.imageDigest);
    // the copy is as large as its image, and nobody should wait for it to hear that
    await insistPoolRoom(storage, pool, image?.fileBytes ?? 0, `volume ${spec.volumeId}`);
    const staged = await this.own.blocks.copyImage(spec, half(work, 0));
    try {
      await insistPoolRoom(storage, pool, staged.allocatedBytes, `volume ${spec.volumeId}`);
      await this.install(whole, staged, half(work, 1));
    } finally {
      await staged.close();
    }
  }

  /** Undefined while it is being made. */
  find(volumeId: string): VolumeSeen | undefined {
    const kept = this.deps.store.volume(volumeId);
    return kept === undefined || kept.unfinished ? undefined : this.seen(kept);
  }

  /** @param format default: its own; of another it was before it was converted, and a definition may still say so */
  path(volumeId: string, format?: KeptFormat): string | undefined {
    const kept = this.deps.store.volume(volumeId);
    const pool = kept && this.deps.store.pool(kept.poolId);
    if (kept === undefined || pool === undefined) return undefined;
    if (kept.block) return blockPathOf(pool, kept);
    const asFile = format === undefined ? kept : { volumeId, format: format === 'raw' ? format : undefined };
    return `${pool.spec.source.targetPath}/${fileOf(asFile)}`;
  }

  isOfBlocks(poolId: string): boolean {
    return isOfBlocks(this.deps.store.pool(poolId));
  }

  async ensureBlock(spec: VolumeSpec, work: LongWork): Promise<void> {
    const { poolId = '', volumeId } = spec;
    const pool = this.deps.store.pool(poolId);
    if (pool === undefined) throw notFound(`pool ${poolId} is not on ${this.deps.hostName}`);
    const kept = keptBlock({ ...spec, poolId });
    const there = this.deps.store.volume(volumeId);
    if (there) insistSame(there, kept);
    if (spec.unit) return ensureUnit(this.deps, pool, { ...spec, unit: spec.unit }, kept);
    if (!there) await insistMark(this.deps, pool);
    await this.blocks.ensure(pool, { ...spec, poolId }, kept, { work });
  }

  async ensure(spec: VolumeSpec & { readonly poolId: string }): Promise<void> {
    const { store, storage } = this.deps;
    const pool = this.pool(spec);
    const there = store.volume(spec.volumeId);
    if (there) checkSame(there, spec);
    // half of one that was to come from another host
    if (there?.unfinished) await this.remove(spec.volumeId);
    const uuid = poolUuid(spec.poolId);
    const kept = keptOf(spec);
    if (there && (await storage.hasVolume(uuid, fileOf(kept)))) return;
    await insistMark(this.deps, pool);
    const backingPath = await this.backing(pool, spec);
    await store.putVolume(kept);
    try {
      const { sizeBytes: capacityBytes, format = 'qcow2' } = spec;
      await storage.createVolume(uuid, { name: fileOf(kept), format, capacityBytes, backingPath });
    } catch (e) {
      // made by the call before this one, whose answer was lost
      if (isClusterError(e, 'ALREADY_EXISTS')) return;
      if (!isClusterError(e, 'HYPERVISOR_UNAVAILABLE', 'STORAGE_UNAVAILABLE')) await store.dropVolume(spec.volumeId);
      throw e;
    }
  }

  /** libvirt makes it, as files of its own choice. */
  make({ preallocation, clusterBytes, lazyRefcounts, ...spec }: MakeSpec & { readonly poolId: string }): Promise<void> {
    if (preallocation !== 'off' || clusterBytes !== DEFAULT_CLUSTER_BYTES || lazyRefcounts)
      throw new ClusterError(
        'UNSUPPORTED',
        `volume ${spec.volumeId} cannot be made so in a pool: preallocation, clusters and reference counts are chosen for pool local only`,
      );
    return this.ensure(spec);
  }

  async read(volumeId: string): Promise<VolumeFile> {
    const kept = this.need(volumeId);
    if (kept.block) return this.cannot(volumeId);
    return this.deps.storage.read(poolUuid(kept.poolId), fileOf(kept));
  }

  async export(exportId: string, volumeId: string, format: FileFormat, work: LongWork): Promise<ExportedFile> {
    return this.blockFiles.export(exportId, this.need(volumeId), format, work);
  }

  /** Of a VM that is off. */
  async captureVolume(uploadId: string, volumeId: string, work: LongWork): Promise<void> {
    return this.blockFiles.capture(uploadId, this.need(volumeId), work);
  }

  async captureSnapshot(
    uploadId: string,
    { volumeId, snapshot }: { readonly volumeId: string; readonly snapshot: string },
    work: LongWork,
  ): Promise<void> {
    return this.blockFiles.captureSnapshot(uploadId, this.need(volumeId), snapshot, work);
  }

  /** It is the host's when all of it is there. Until then it is on record, so that whoever gives it up can have it removed. */
  async install(spec: VolumeSpec & { readonly poolId: string }, file: VolumeFile, work: LongWork): Promise<void> {
    const { store } = this.deps;
    const pool = store.pool(spec.poolId);
    if (pool && isOfBlocks(pool)) return this.blockFiles.install(pool, spec, file, work);
    const kept = keptOf(spec);
    const there = store.volume(spec.volumeId);
    if (there) checkSame(there, spec);
    if (there && !there.unfinished) return;
    if (!there) await this.insistNew(spec);
    await store.putVolume({ ...kept, unfinished: true });
    try {
      await this.carry(spec, file, work);
    } catch (e) {
      await this.remove(spec.volumeId).catch(() => undefined); // it stays on record
      throw e;
    }
    await store.putVolume(kept);
  }

  /** In a pool that is shared it may be another host's, which has it on record and may be the one that sends it. */
  private async insistNew(spec: VolumeSpec & { readonly poolId: string }): Promise<void> {
    const { storage, hostName } = this.deps;
    const pool = this.pool(spec);
    const uuid = poolUuid(spec.poolId);
    await storage.refresh(uuid);
    await insistMark(this.deps, pool);
    if (await storage.hasVolume(uuid, fileOf(keptOf(spec)))) throw notOurs(pool.spec.name, spec.volumeId, hostName);
  }

  /** Writes a file into a pool, in place of what is left of another try. Whose it is nobody has noted yet. */
  async carry(spec: VolumeSpec & { readonly poolId: string }, file: VolumeFile, work: LongWork): Promise<void> {
    const { storage } = this.deps;
    const pool = this.pool(spec);
    await insistMark(this.deps, pool);
    const backing = await this.backing(pool, spec);
    checkCarriedLength(spec, file.fileBytes);
    const [uuid, name] = [poolUuid(spec.poolId), fileOf(keptOf(spec))];
    await storage.removeVolume(uuid, name);
    // bytes as they come; what they are the domain says
    await storage.createVolume(uuid, { name, format: 'raw', capacityBytes: file.fileBytes });
    const pieces = counted(file.pieces(work.signal), file.fileBytes, work);
    const own = withCheckedHead(backing === undefined ? pieces : rebased(pieces, backing), spec, backing);
    await storage.write(uuid, name, own, file.fileBytes);
  }

  /** An empty file in a pool, in place of what is left of another try. Gives what is below it. */
  async blank(spec: VolumeSpec & { readonly poolId: string }): Promise<string | undefined> {
    const { storage } = this.deps;
    const pool = this.pool(spec);
    await insistMark(this.deps, pool);
    const backingPath = await this.backing(pool, spec);
    const [uuid, name] = [poolUuid(spec.poolId), fileOf(keptOf(spec))];
    await storage.removeVolume(uuid, name);
    const { sizeBytes: capacityBytes, format = 'qcow2' } = spec;
    await storage.createVolume(uuid, { name, format, capacityBytes, backingPath });
    return backingPath;
  }

  async remove(volumeId: string): Promise<void> {
    const kept = this.deps.store.volume(volumeId);
    if (kept === undefined) return;
    await this.rewrites.removeLeft(kept);
    await this.wipes.removeLeft(kept);
    if (!kept.unit) await this.deps.storage.removeVolume(poolUuid(kept.poolId), fileOf(kept));
    await this.deps.store.dropVolume(volumeId);
  }

  async assign(volumeId: string, { from, to }: { readonly from: string; readonly to: string }): Promise<void> {
    const kept = this.need(volumeId);
    if (kept.vmId === to) return;
    if (kept.vmId !== from)
      throw badState(`volume ${volumeId} belongs to ${kept.vmId === '' ? 'nobody' : kept.vmId}, not to ${from}`);
    await this.deps.store.putVolume({ ...kept, vmId: to });
  }

  /** libvirt makes the file larger; a smaller one is a new file. */
  async resize(
    volumeId: string,
    sizeBytes: number,
    { shrink }: { readonly shrink: boolean },
    work: LongWork,
    mayReplace?: () => Promise<void>,
  ): Promise<void> {
    const kept = this.need(volumeId);
    if (sizeBytes > kept.sizeBytes) return this.grow(kept, sizeBytes);
    if (sizeBytes === kept.sizeBytes) return this.noteSize(volumeId, sizeBytes);
    if (kept.block)
      throw new ClusterError(
        'UNSUPPORTED',
        `volume ${volumeId} lies in a pool that holds no files: there it can only become larger`,
      );
    if (!shrink) throw badState(`volume ${volumeId} would become smaller: say so (--shrink)`);
    await this.rewrites.shrink(kept, sizeBytes, work, mayReplace);
  }

  async rewrite(
    volumeId: string,
    wanted: RewriteSpec,
    work: LongWork,
    mayReplace?: () => Promise<void>,
  ): Promise<void> {
    const kept = this.need(volumeId);
    if (kept.block) return this.cannot(volumeId);
    await this.rewrites.rewrite(kept, wanted, work, mayReplace);
  }

  /** Before anything else is done with it: what a rewriting left that ended, or a wipe. */
  async settle(volumeId: string): Promise<void> {
    const { store } = this.deps;
    const kept = store.volume(volumeId);
    if (kept) await this.rewrites.settle(kept);
    const now = store.volume(volumeId);
    if (now) await this.wipes.settle(now);
  }

  private async grow(kept: KeptVolume, sizeBytes: number): Promise<void> {
    const pool = this.deps.store.pool(kept.poolId);
    if (kept.block && pool) return this.blocks.resize(pool, kept, sizeBytes);
    await this.deps.storage.resizeVolume(poolUuid(kept.poolId), fileOf(kept), sizeBytes);
    await this.noteSize(kept.volumeId, sizeBytes);
  }

  async wipe(volumeId: string, work: LongWork): Promise<void> {
    const kept = this.need(volumeId);
    if (!kept.block) return this.wipes.wipe(kept, work);
    await insistUnit(this.deps, kept);
    // one that is cancelled before it has its turn is called all the same after a restart
    if (work.signal.aborted) throw work.signal.reason;
    await this.blocks.wipe(kept);
  }

  /** Before a guest writes to what it has. @throws BAD_STATE: another unit is in the place of one */
  async insistUnits(vmId: string): Promise<void> {
    for (const kept of this.deps.store.volumes()) if (kept.vmId === vmId) await insistUnit(this.deps, kept);
  }

  cannot(volumeId: string): never {
    throw new ClusterError('UNSUPPORTED', `volume ${volumeId} lies in a pool: there it stays as it is`);
  }

  noteSize(volumeId: string, sizeBytes: number): Promise<void> {
    return this.deps.store.putVolume({ ...this.need(volumeId), sizeBytes });
  }

  private need(volumeId: string): KeptVolume {
    const kept = this.deps.store.volume(volumeId);
    if (kept === undefined || kept.unfinished) throw notFound(`volume ${volumeId} is not on ${this.deps.hostName}`);
    return kept;
  }

  /** @throws IN_USE */
  refuseImageInUse(digest: string): void {
    const { store } = this.deps;
    const user = store.volumes().find((v) => v.imageDigest === digest && store.pool(v.poolId)?.spec.shared !== true);
    if (user)
      throw new ClusterError('IN_USE', `image ${digest} is in use: volume ${user.volumeId} of ${user.vmId}`, {
        volumeIds: user.volumeId,
      });
  }

  private pool(spec: VolumeSpec & { readonly poolId: string }): KeptPool {
    const pool = this.deps.store.pool(spec.poolId);
    if (pool === undefined) throw notFound(`pool ${spec.poolId} is not on ${this.deps.hostName}`);
    const { name, source } = pool.spec;
    if (!hasFiles(source.type))
      throw new ClusterError(
        'UNSUPPORTED',
        `pool ${name} is of type ${source.type}: Berth makes no files in such pools`,
      );
    return pool;
  }

  /** The file below it. @throws NOT_FOUND, INVALID_ARGUMENT */
  private async backing({ spec: pool }: KeptPool, spec: VolumeSpec): Promise<string | undefined> {
    const { imageDigest: digest, volumeId, sizeBytes } = spec;
    if (digest === undefined) return undefined;
    if (spec.format === 'raw')
      throw invalidArgument(`volume ${volumeId} cannot be raw: it is an overlay of an image, which only qcow2 can be`);
    const image = (await this.own.listImages()).find((i) => i.digest === digest);
    if (image && sizeBytes < image.virtualSizeBytes)
      throw invalidArgument(
        `a disk of ${formatBytes(sizeBytes)} is smaller than its image (${formatBytes(image.virtualSizeBytes)}); ask for that or more`,
      );
    if (!pool.shared) {
      if (image === undefined) throw notFound(`${this.deps.hostName} has no copy of image ${digest}`);
      return this.own.imagePath(digest);
    }
    const uuid = poolUuid(pool.poolId);
    const whole = imageFile(digest).replace(/qcow2$/, 'whole');
    if (!(await this.deps.storage.hasVolume(uuid, whole))) {
      await this.deps.storage.refresh(uuid);
      if (!(await this.deps.storage.hasVolume(uuid, whole)))
        throw badState(`pool ${pool.name} has no copy of image ${digest} yet`);
    }
    return `${pool.source.targetPath}/${imageFile(digest)}`;
  }

  private seen(v: KeptVolume): VolumeSeen {
    const pool = this.deps.store.pool(v.poolId);
    const file = this.deps.watch.volume(v.poolId, fileOf(v));
    const shared = pool?.spec.shared === true && v.imageDigest !== undefined;
    return {
      ...{ volumeId: v.volumeId, vmId: v.vmId, seed: false, imageDigest: v.imageDigest, format: v.format },
      ...{ poolId: v.poolId, sizeBytes: v.sizeBytes, allocatedBytes: file?.allocationBytes ?? 0 },
      ...(pool?.directIo === false && { directIo: false }),
      ...(v.unit && { unitKey: v.unit.key }),
      ...(v.cleanBytes !== undefined && { growing: true }),
      ...(isUnsettled(v) && { unsettled: true }),
      ...(v.block && pool && blockSeen(blockSourceOf(pool, v))),
      ...(shared && { backingPath: `${pool.spec.source.targetPath}/${imageFile(v.imageDigest ?? '')}` }),
    };
  }
}

/** The client of Ceph reads ahead only with its cache on, which writes through until its guest flushes. */
const blockSeen = (source: BlockSource) => ({ source, directIo: source.type === 'block' });
