/**
 * Moves of volumes between the pools of this host: where a volume lies is one record, which changes in one step, and while it moves a
 * note says that there may be a file at the other place as well. Which of the two files is the disk of a guest that runs, and
 * who may have them open, is volume/moves.ts's.
 */
import { badState, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork, VolumeSeen } from '../drivers/disks.ts';
import { runnable, type AllDisks, type MovedDisk, type VolumePlaces } from '../drivers/volume-work.ts';
import { CrossMoves, isCross } from './cross-moves.ts';
import { poolUuid } from './pool-spec.ts';
import { fileOf, keptOf, pathIn } from './pool-paths.ts';
import type { PoolVolumeDeps, PoolVolumes } from './in-pools.ts';
import type { KeptMove } from './pool-store.ts';

/** @param own the driver of the host's own folder. */
export const createPlaces = (own: AllDisks, deps: PoolVolumeDeps, inPools: PoolVolumes): VolumePlaces =>
  new Places(own, deps, inPools);

class Places implements VolumePlaces {
  private readonly cross: CrossMoves;

  constructor(
    private readonly own: AllDisks,
    private readonly deps: PoolVolumeDeps,
    private readonly inPools: PoolVolumes,
  ) {
    this.cross = new CrossMoves(own, deps, inPools);
  }

  async home(volumeId: string): Promise<string> {
    return (await this.need(volumeId)).poolId ?? '';
  }

  moving(volumeId: string): KeptMove | undefined {
    return this.deps.store.move(volumeId);
  }

  path(volume: VolumeSeen, place: string): string {
    return pathIn(this.own, this.deps.store, { ...volume, format: runnable(volume) }, place);
  }

  async begin(volumeId: string, to: string, how: { readonly full?: boolean } = {}): Promise<void> {
    await this.inPools.settle(volumeId);
    const { imageDigest } = await this.need(volumeId);
    runnable(await this.need(volumeId));
    this.refuseWiped(volumeId);
    const from = await this.home(volumeId);
    const there = this.deps.store.move(volumeId);
    const isCrossing = isCross(this.deps, volumeId, from, to);
    // in a pool without files it rests on no image in any case
    const full = how.full === true && imageDigest !== undefined && !isCrossing;
    if (there?.from === from && there.to === to && (there.full === true) === full) return;
    if (there && (there.from !== from || there.to !== to))
      throw badState(`volume ${volumeId} is being moved elsewhere already`);
    if (to !== '' && this.deps.store.pool(to) === undefined)
      throw notFound(`pool ${to} is not on ${this.deps.hostName}`);
    const was = isCrossing || full ? { was: await this.shapeOf(volumeId) } : {};
    await this.deps.store.putMove({ version: 1, volumeId, from, to, mirror: false, ...was, ...(full && { full }) });
  }

  /** What it held would stay behind. @throws BAD_STATE */
  private refuseWiped(volumeId: string): void {
    if (this.deps.store.volume(volumeId)?.wiping === undefined) return;
    throw badState(
      `volume ${volumeId} was being wiped, and that did not end: what it held lies in its pool still. Wipe it again (berth volume wipe), then move it`,
    );
  }

  private async shapeOf(volumeId: string): Promise<NonNullable<KeptMove['was']>> {
    const { format, imageDigest } = await this.need(volumeId);
    return { ...(format === 'raw' && { format }), ...(imageDigest !== undefined && { imageDigest }) };
  }

  async prepare(volumeId: string): Promise<MovedDisk> {
    const move = this.move(volumeId);
    const { to } = move;
    const volume = await this.need(volumeId);
    if (move.was) return this.cross.prepare(move, volume);
    await this.deps.store.putMove({ ...move, mirror: true });
    const { vmId, imageDigest, sizeBytes } = volume;
    const format = runnable(volume);
    const about = { volumeId, vmId, imageDigest, sizeBytes, ...(format === 'raw' && { format }) };
    if (to !== '') {
      const backingPath = await this.inPools.blank({ ...about, poolId: to });
      const directIo = this.deps.store.pool(to)?.directIo === false ? false : undefined;
      return { file: this.path(volume, to), format, backingPath, directIo };
    }
    await this.own.removeVolume(volumeId);
    await this.own.ensureVolume(about);
    const backingPath = imageDigest === undefined ? undefined : this.own.imagePath(imageDigest);
    return { file: this.path(volume, ''), format, backingPath, directIo: undefined };
  }

  async copy(volumeId: string, work: LongWork): Promise<void> {
    const move = this.move(volumeId);
    const { from, to } = move;
    if (move.was) return this.cross.copy(move, await this.need(volumeId), work);
    await this.deps.store.putMove({ ...move, mirror: false });
    const { vmId, imageDigest, sizeBytes, format } = await this.need(volumeId);
    const about = { volumeId, vmId, imageDigest, sizeBytes, ...(format === 'raw' && { format }) };
    const file = await (from === '' ? this.own.work.read(volumeId) : this.inPools.read(volumeId));
    if (to !== '') return this.inPools.carry({ ...about, poolId: to }, file, work);
    await this.own.removeVolume(volumeId);
    await this.own.work.install(about, file, work);
  }

  async change(volumeId: string, how: { readonly back?: true } = {}): Promise<void> {
    const move = this.move(volumeId);
    const place = how.back ? move.from : move.to;
    const volume = await this.need(volumeId);
    const { vmId, imageDigest, sizeBytes, format, poolId = '' } = volume;
    if (poolId === place) return;
    const about = { volumeId, vmId, imageDigest, sizeBytes, ...(format === 'raw' && { format }) };
    // the sidecar in the host's own folder is there, and counts as soon as no record of a pool stands before it
    if (place === '') await this.toOwn(volumeId, vmId, sizeBytes);
    else if (move.was) await this.deps.store.putVolume(this.cross.keptAt(move, place, volume));
    else await this.deps.store.putVolume(keptOf({ ...about, poolId: place }));
  }

  /** A disk may have grown, or got another owner, since its sidecar was written. */
  private async toOwn(volumeId: string, vmId: string, sizeBytes: number): Promise<void> {
    const there = await this.own.findVolume(volumeId);
    if (there === undefined) throw new ClusterError('INTERNAL', `the moved file of volume ${volumeId} is not there`);
    if (there.vmId !== vmId) await this.own.work.assign(volumeId, { from: there.vmId, to: vmId });
    await this.own.work.noteSize(volumeId, sizeBytes);
    await this.deps.store.dropVolume(volumeId);
  }

  async end(volumeId: string): Promise<void> {
    const move = this.deps.store.move(volumeId);
    if (move === undefined) return;
    const volume = await this.find(volumeId);
    const home = volume?.poolId ?? '';
    // from here on it cannot be again what it was before it moved
    if (move.was && home === move.to) await this.deps.store.putMove({ ...move, mirror: true });
    for (const place of [move.from, move.to])
      if (volume === undefined || place !== home)
        await (move.was ? this.cross.drop(move, place) : this.drop(volumeId, place, volume));
    await this.deps.store.dropMove(volumeId);
  }

  private async drop(volumeId: string, place: string, volume: VolumeSeen | undefined): Promise<void> {
    if (place === '') return this.own.removeVolume(volumeId);
    if (this.deps.store.pool(place) === undefined) return;
    const formats = volume ? [volume.format] : (['qcow2', 'raw'] as const);
    for (const format of formats)
      await this.deps.storage.removeVolume(
        poolUuid(place),
        fileOf({ volumeId, format: format === 'raw' ? 'raw' : undefined }),
      );
  }

  private move(volumeId: string): KeptMove {
    const move = this.deps.store.move(volumeId);
    if (move === undefined) throw notFound(`volume ${volumeId} is not being moved on ${this.deps.hostName}`);
    return move;
  }

  private async find(volumeId: string): Promise<VolumeSeen | undefined> {
    return this.inPools.find(volumeId) ?? (await this.own.findVolume(volumeId));
  }

  private async need(volumeId: string): Promise<VolumeSeen> {
    const volume = await this.find(volumeId);
    if (volume === undefined || volume.seed) throw notFound(`volume ${volumeId} is not on ${this.deps.hostName}`);
    return volume;
  }
}
