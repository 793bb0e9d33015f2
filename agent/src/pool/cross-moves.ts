/**
 * Volumes on their way between the host's own folder and a pool that holds no files (LVM, Ceph), while nobody uses them. What arrives
 * is raw and rests on no image: in the pool because nothing else can be there, and in the folder because that is what it was.
 * What a move is, and when it is done, is pool-moves.ts's.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { LongWork, VolumeSeen } from '../drivers/disks.ts';
import type { AllDisks, NetworkTarget } from '../drivers/volume-work.ts';
import { counted, filledUp, notOurs, type BlockVolumeDeps } from './block-volumes.ts';
import { insistMark, type MarkCheck } from './pool-marks.ts';
import { blockSourceOf, isOfBlocks, keptOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptMove, KeptPool, KeptVolume } from './pool-store.ts';

export type CrossDeps = BlockVolumeDeps & MarkCheck;

/** Of the two one is a pool without files. @throws UNSUPPORTED: not such two */
export function isCross({ store }: Pick<CrossDeps, 'store'>, volumeId: string, from: string, to: string): boolean {
  const ofBlocks = [from, to].filter((place) => place !== '' && isOfBlocks(store.pool(place)));
  if (ofBlocks.length === 0) return false;
  if (store.volume(volumeId)?.unit)
    throw new ClusterError('UNSUPPORTED', `volume ${volumeId} is a unit of its pool: it stays there`);
  if (ofBlocks.length === 2 || (from !== '' && to !== ''))
    throw new ClusterError(
      'UNSUPPORTED',
      `volume ${volumeId}: between a pool that holds no files and another pool the way is by pool local. Move it there first`,
    );
  return true;
}

/** As it is kept there. */
export const keptThere = (v: VolumeSeen, poolId: string): KeptVolume => ({
  ...keptOf({ volumeId: v.volumeId, vmId: v.vmId, sizeBytes: v.sizeBytes, imageDigest: undefined, poolId }),
  ...{ format: 'raw', block: true },
});

export class CrossMoves {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: CrossDeps,
  ) {}

  /** What was there of another try is written anew. */
  async copy(move: KeptMove, volume: VolumeSeen, work: LongWork): Promise<void> {
    const pool = this.deps.store.pool(move.to === '' ? move.from : move.to);
    if (pool === undefined) throw badState(`volume ${volume.volumeId}: its pool is not on ${this.deps.hostName}`);
    await insistMark(this.deps, pool);
    return move.to === '' ? this.in(pool, volume, work) : this.out(move, pool, volume, work);
  }

  /** Absent is fine. */
  async drop(move: KeptMove, place: string): Promise<void> {
    if (place === '') return this.own.removeVolume(move.volumeId);
    if (this.deps.store.pool(place) === undefined || (place === move.to && !move.made)) return;
    await this.deps.storage.removeVolume(poolUuid(place), move.volumeId);
  }

  private async out(move: KeptMove, pool: KeptPool, volume: VolumeSeen, work: LongWork): Promise<void> {
    const { storage, store, hostName } = this.deps;
    const { volumeId: name, sizeBytes } = volume;
    const uuid = poolUuid(move.to);
    await storage.refresh(uuid);
    if (!move.made && (await storage.hasVolume(uuid, name))) throw notOurs(pool.spec.name, name, hostName);
    await store.putMove({ ...move, mirror: false, made: true });
    await storage.removeVolume(uuid, name);
    const allocated = pool.spec.source.type === 'logical';
    await storage.createVolume(uuid, { name, format: 'raw', capacityBytes: sizeBytes, allocated });
    const target = await this.target(pool, name);
    if (target) return this.own.blocks.writeVolumeOut(name, target, work);
    const { capacityBytes } = await storage.lookAtVolume(uuid, name);
    const sink = await storage.upload(uuid, name, capacityBytes);
    const all = filledUp(this.own.blocks.readVolume(name, work.signal), capacityBytes);
    const told = counted(all, (done) => work.onProgress(done, capacityBytes));
    await pipeline(Readable.from(told, { objectMode: false }), sink, { signal: work.signal });
  }

  private async in(pool: KeptPool, { volumeId, vmId, sizeBytes }: VolumeSeen, work: LongWork): Promise<void> {
    const target = await this.target(pool, volumeId);
    // opened when it is read: what nobody reads would stay open
    const open = async (): Promise<AsyncIterable<Uint8Array>> =>
      target
        ? this.own.blocks.readIn(target, work.signal)
        : this.deps.storage.download(poolUuid(pool.spec.poolId), volumeId);
    const pieces = (): AsyncIterable<Piece> => disk(open, sizeBytes, volumeId);
    await this.own.removeVolume(volumeId);
    const spec = { volumeId, vmId, sizeBytes, imageDigest: undefined, format: 'raw' as const };
    await this.own.work.install(spec, { fileBytes: sizeBytes, allocatedBytes: sizeBytes, pieces }, work);
  }

  /** Undefined: a device, which libvirt reads and writes. */
  private async target(pool: KeptPool, volumeId: string): Promise<NetworkTarget | undefined> {
    const source = blockSourceOf(pool, { volumeId });
    if (source.type === 'block') return undefined;
    return { source, secret: source.auth && (await this.deps.storage.secretValue(source.auth.secretUuid)) };
  }
}

/** So much of it; what is behind that, because devices have whole extents, must be zeros: nothing is cut off. */
async function* disk(
  open: () => Promise<AsyncIterable<Uint8Array>>,
  sizeBytes: number,
  volumeId: string,
): AsyncGenerator<Piece> {
  let at = 0;
  for await (const chunk of await open()) {
    const mine = chunk.subarray(0, Math.max(0, sizeBytes - at));
    yield* piecesOf(mine);
    at += mine.length;
    if (chunk.subarray(mine.length).some((b) => b !== 0))
      throw badState(
        `volume ${volumeId} holds something behind its ${formatBytes(sizeBytes)}, which its device has more of: make it larger, then move it`,
      );
  }
}
