/**
 * What a volume holds that goes to or from a pool without files, from its first byte to its last, wherever it lies: a file with what
 * is in its image, a logical volume, an image of Ceph. Devices are read by libvirt, the rest by a confined QEMU.
 */
import { bytesOf } from '@berth/shared/disk/pieces.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { AllDisks } from '../drivers/volume-work.ts';
import { networkTarget } from './block-bytes.ts';
import type { BlockVolumeDeps } from './block-volumes.ts';
import { readFileIn } from './file-bytes.ts';
import type { MarkCheck } from './pool-marks.ts';
import { isOfBlocks } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptMove } from './pool-store.ts';

export type CrossDeps = BlockVolumeDeps & MarkCheck;

export class CrossSource {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: CrossDeps,
  ) {}

  /** As a guest that runs may see it: a device has whole extents. */
  async wholeBytes({ from }: KeptMove, { volumeId, sizeBytes }: VolumeSeen): Promise<number> {
    if (!isOfBlocks(this.deps.store.pool(from))) return sizeBytes;
    const uuid = poolUuid(from);
    await this.deps.storage.refresh(uuid);
    return Math.max(sizeBytes, (await this.deps.storage.lookAtVolume(uuid, volumeId)).capacityBytes);
  }

  /** Where it lies; nobody writes to it meanwhile. */
  async open(move: KeptMove, volume: VolumeSeen, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const { from, was, volumeId } = move;
    const { storage, store } = this.deps;
    if (from === '') return this.own.blocks.readVolume(volumeId, signal);
    const pool = store.pool(from);
    if (pool === undefined) throw badState(`volume ${volumeId}: its pool is not on ${this.deps.hostName}`);
    const uuid = poolUuid(from);
    if (isOfBlocks(pool)) {
      const target = await networkTarget(storage, pool, { volumeId });
      return target ? this.own.blocks.readIn(target, signal) : storage.download(uuid, volumeId);
    }
    const { sizeBytes } = volume;
    return bytesOf(readFileIn(this.own, this.deps, { volumeId, sizeBytes, ...was, pool }, signal));
  }
}
