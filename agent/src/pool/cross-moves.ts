/**
 * Volumes on their way to or from a pool that holds no files (LVM, Ceph): from and to the host's own folder, a pool of files, or
 * another without. What arrives is raw and rests on no image: in a pool without files because nothing else can be there, and out of
 * one because that is what it was. And volumes that shall rest on their image no more, from any place of files to another. What a move is, and when it is done, is pool-moves.ts's; how a disk is read, cross-source.ts's.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { LongWork, VolumeSeen } from '../drivers/disks.ts';
import type { AllDisks, MovedDisk, VolumeFile } from '../drivers/volume-work.ts';
import { disk, networkTarget } from './block-bytes.ts';
import { counted, filledUp, notOurs } from './block-volumes.ts';
import { fileIn } from './file-bytes.ts';
import { half, insistPoolRoom } from './file-rewrites.ts';
import { CrossSource, type CrossDeps } from './cross-source.ts';
import type { PoolVolumes } from './in-pools.ts';
import { insistMark } from './pool-marks.ts';
import { blockSourceOf, crossFormat, fileOf, isOfBlocks, keptOf, pathIn } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptMove, KeptPool, KeptVolume } from './pool-store.ts';

/** Of the two one at least is a pool without files. @throws UNSUPPORTED: it is there what it is */
export function isCross({ store }: Pick<CrossDeps, 'store'>, volumeId: string, from: string, to: string): boolean {
  if (![from, to].some((place) => place !== '' && isOfBlocks(store.pool(place)))) return false;
  if (store.volume(volumeId)?.unit)
    throw new ClusterError('UNSUPPORTED', `volume ${volumeId} is a unit of its pool: it stays there`);
  return true;
}

export class CrossMoves {
  private readonly source: CrossSource;

  constructor(
    private readonly own: AllDisks,
    private readonly deps: CrossDeps,
    private readonly inPools: Pick<PoolVolumes, 'blank' | 'carry'>,
  ) {
    this.source = new CrossSource(own, deps);
  }

  /** While nobody uses it. What was there of another try is written anew. */
  async copy(noted: KeptMove, volume: VolumeSeen, work: LongWork): Promise<void> {
    const move = { ...noted, mirror: false };
    await this.deps.store.putMove(move);
    await this.insistMarks(move);
    if (move.full) return this.copyFull(move, volume, work);
    const pool = this.deps.store.pool(move.to);
    return pool && isOfBlocks(pool) ? this.out(move, pool, volume, work) : this.in(move, volume, work);
  }

  /** Under a guest that runs: what lies behind what the guest sees of it is zeros. */
  async prepare(noted: KeptMove, volume: VolumeSeen): Promise<MovedDisk> {
    const move = { ...noted, mirror: true as const };
    const { store } = this.deps;
    await store.putMove(move);
    await this.insistMarks(move);
    if (move.full) return this.prepareFull(move, volume);
    const pool = store.pool(move.to);
    const disk = {
      ...({
        file: pathIn(this.own, store, { volumeId: volume.volumeId }, move.to),
        format: 'raw',
        backingPath: undefined,
        deep: true,
      } as const),
      directIo: isOfBlocks(pool) ? true : pool?.directIo === false ? false : undefined,
    };
    const seenBytes = await this.source.wholeBytes(move, volume);
    if (pool && isOfBlocks(pool)) {
      await this.make(move, pool, seenBytes);
      await this.clear(pool, volume.volumeId, seenBytes);
      return { ...disk, source: blockSourceOf(pool, volume) };
    }
    if (seenBytes !== volume.sizeBytes) throw hasMore(volume, seenBytes);
    const spec = this.specOf(volume);
    if (pool) await this.inPools.blank({ ...spec, poolId: move.to });
    else await this.own.removeVolume(volume.volumeId).then(() => this.own.ensureVolume(spec));
    return disk;
  }

  /** Between places of files: a file that rests on no image, to which all goes that the guest sees. */
  private async prepareFull({ to }: KeptMove, { volumeId, vmId, sizeBytes }: VolumeSeen): Promise<MovedDisk> {
    const { own, inPools } = this;
    const { store } = this.deps;
    const spec = { volumeId, vmId, sizeBytes, imageDigest: undefined };
    if (to !== '') await inPools.blank({ ...spec, poolId: to });
    else await own.removeVolume(volumeId).then(() => own.ensureVolume(spec));
    return {
      ...{ file: pathIn(own, store, { volumeId }, to), format: 'qcow2', backingPath: undefined, deep: true },
      directIo: store.pool(to)?.directIo === false ? false : undefined,
    };
  }

  /** What is kept of it in a pool, when it lies there. */
  keptAt(move: KeptMove, place: string, { volumeId, vmId, sizeBytes }: VolumeSeen): KeptVolume {
    const { format, imageDigest } = place === move.from && move.was ? move.was : move.full ? FULL : RAW;
    const kept = keptOf({ volumeId, vmId, sizeBytes, imageDigest, poolId: place, ...(format && { format }) });
    return isOfBlocks(this.deps.store.pool(place)) ? { ...kept, format: 'raw', block: true } : kept;
  }

  /** Absent is fine. */
  async drop(move: KeptMove, place: string): Promise<void> {
    const { volumeId } = move;
    if (place === '') return this.own.removeVolume(volumeId);
    const pool = this.deps.store.pool(place);
    if (pool === undefined) return;
    const block = isOfBlocks(pool);
    if (block && place === move.to && !move.made) return;
    const name = block ? volumeId : fileOf({ volumeId, format: crossFormat(move, place) });
    await this.deps.storage.removeVolume(poolUuid(place), name);
  }

  /** Between places of files: a new file with what is in its image, which rests on none. */
  private async copyFull(move: KeptMove, volume: VolumeSeen, work: LongWork): Promise<void> {
    const { own } = this;
    const { storage, store } = this.deps;
    const { volumeId, vmId, sizeBytes } = volume;
    const [from, to] = [store.pool(move.from), store.pool(move.to)];
    const image = move.was?.imageDigest;
    const file = { volumeId, sizeBytes, ...move.was };
    const source = from
      ? fileIn(own, { ...file, pool: from })
      : {
          ...{ volumeId, path: own.volumePath(volumeId, false), format: 'qcow2' as const, sizeBytes },
          backing: image === undefined ? undefined : own.imagePath(image),
        };
    const staged = await own.blocks.rewriteFile(source, { format: 'qcow2', base: undefined }, half(work, 0));
    try {
      const spec = { volumeId, vmId, sizeBytes, imageDigest: undefined };
      if (to) {
        await insistPoolRoom(storage, to, staged.allocatedBytes, `volume ${volumeId}`);
        return await this.inPools.carry({ ...spec, poolId: move.to }, staged, half(work, 1));
      }
      await own.removeVolume(volumeId);
      await own.work.install(spec, staged, half(work, 1));
    } finally {
      await staged.close();
    }
  }

  private async insistMarks({ volumeId, from, to }: KeptMove): Promise<void> {
    for (const place of [from, to]) {
      if (place === '') continue;
      const pool = this.deps.store.pool(place);
      if (pool === undefined) throw badState(`volume ${volumeId}: its pool is not on ${this.deps.hostName}`);
      await insistMark(this.deps, pool);
    }
  }

  /** At least so large; what was there of another try is gone. @throws ALREADY_EXISTS: it is not ours */
  private async make(move: KeptMove, pool: KeptPool, capacityBytes: number): Promise<void> {
    const { storage, store, hostName } = this.deps;
    const [uuid, name] = [poolUuid(move.to), move.volumeId];
    await storage.refresh(uuid);
    if (!move.made && (await storage.hasVolume(uuid, name))) throw notOurs(pool.spec.name, name, hostName);
    await store.putMove({ ...move, made: true });
    await storage.removeVolume(uuid, name);
    const allocated = pool.spec.source.type === 'logical';
    await storage.createVolume(uuid, { name, format: 'raw', capacityBytes, allocated });
  }

  /** Room of LVM holds what whoever had it before wrote there. */
  private async clear(pool: KeptPool, volumeId: string, fromBytes: number): Promise<void> {
    if (blockSourceOf(pool, { volumeId }).type !== 'block') return;
    const { storage } = this.deps;
    const uuid = poolUuid(pool.spec.poolId);
    const bytes = (await storage.lookAtVolume(uuid, volumeId)).capacityBytes - fromBytes;
    if (bytes <= 0) return;
    const sink = await storage.upload(uuid, volumeId, bytes, fromBytes);
    await pipeline(Readable.from(filledUp([], bytes), { objectMode: false }), sink);
  }

  private async out(move: KeptMove, pool: KeptPool, volume: VolumeSeen, work: LongWork): Promise<void> {
    const { storage } = this.deps;
    const { volumeId: name } = volume;
    const uuid = poolUuid(move.to);
    const wholeBytes = await this.source.wholeBytes(move, volume);
    await this.make(move, pool, wholeBytes);
    const target = await networkTarget(storage, pool, { volumeId: name });
    if (target && move.from === '') return this.own.blocks.writeVolumeOut(name, target, work);
    const bytes = await this.source.open(move, volume, work.signal);
    if (target) {
      const told = counted(bytes, (done) => work.onProgress(done, wholeBytes));
      return this.own.blocks.writeIn(target, pieces(told), work.signal);
    }
    const { capacityBytes } = await storage.lookAtVolume(uuid, name);
    const sink = await storage.upload(uuid, name, capacityBytes);
    const told = counted(filledUp(bytes, capacityBytes), (done) => work.onProgress(done, capacityBytes));
    await pipeline(Readable.from(told, { objectMode: false }), sink, { signal: work.signal });
  }

  private async in(move: KeptMove, volume: VolumeSeen, work: LongWork): Promise<void> {
    const { volumeId, sizeBytes } = volume;
    const file: VolumeFile = {
      ...{ fileBytes: sizeBytes, allocatedBytes: sizeBytes },
      // opened when it is read: what nobody reads would stay open
      pieces: () => disk(() => this.source.open(move, volume, work.signal), sizeBytes, volumeId),
    };
    const spec = this.specOf(volume);
    if (move.to !== '') return this.inPools.carry({ ...spec, poolId: move.to }, file, work);
    await this.own.removeVolume(volumeId);
    await this.own.work.install(spec, file, work);
  }

  private specOf({ volumeId, vmId, sizeBytes }: VolumeSeen) {
    return { volumeId, vmId, sizeBytes, ...RAW };
  }
}

const FULL: NonNullable<KeptMove['was']> = {};
const RAW = { imageDigest: undefined, format: 'raw' } as const;

const hasMore = ({ volumeId, sizeBytes }: VolumeSeen, seenBytes: number): ClusterError =>
  badState(
    `volume ${volumeId} has ${formatBytes(sizeBytes)}, and its guest sees the ${formatBytes(seenBytes)} of its device: make it that large ` +
      `(berth volume resize), then move it`,
  );

async function* pieces(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Piece> {
  for await (const chunk of bytes) yield* piecesOf(chunk);
}
