/**
 * Copies of images in pools that hosts share: a volume there can only be based on a file that all of them see. A copy is written by
 * one host at a time under a name that says so, and counts when the empty volume that says `whole` lies beside it: half of an image
 * looks like none. They are not read-only for root, so the digest is that of the local copy which was written out.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { Transform } from 'node:stream';
import { digestHex } from '@berth/shared/disk/digest.ts';
import { badState, ClusterError, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, LongWork } from '../drivers/disks.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { insistMark, type MarkCheck } from './pool-marks.ts';
import { poolUuid } from './pool-spec.ts';
import { userOfPoolImage } from './pool-image-users.ts';
import type { PoolStore } from './pool-store.ts';

export interface PoolImageWanted {
  readonly poolId: string;
  readonly digest: string;
}

const WHOLE = /^berth\.([0-9a-f]{64})\.whole$/;
const WHOLE_BYTES = 512;
const COPIES_AT_ONCE = 2;

export const imageFile = (digest: string): string => `berth.${digestHex(digest)}.qcow2`;
const wholeFile = (digest: string): string => `berth.${digestHex(digest)}.whole`;
export const imageDigestOf = (hex: string): string => `sha256:${hex}`;

/** Hexadecimal digests of those that are whole. */
export const wholeImages = (names: readonly string[]): readonly string[] =>
  names.flatMap((n) => WHOLE.exec(n)?.[1] ?? []).filter((hex) => names.includes(`berth.${hex}.qcow2`));

export interface PoolImageDeps extends MarkCheck {
  readonly store: PoolStore;
  /** Without pools. */
  readonly disks: Disks;
  readonly operations: Operations;
}

export class PoolImages {
  readonly ensure: OperationKind<PoolImageWanted>;
  readonly remove: OperationKind<PoolImageWanted>;

  constructor(private readonly deps: PoolImageDeps) {
    const lockKey = (w: PoolImageWanted): string => `pool/${w.poolId}/${w.digest}`;
    this.ensure = deps.operations.define<PoolImageWanted>({
      name: 'pool.image.ensure',
      long: { atOnce: COPIES_AT_ONCE },
      lockKey,
      run: (w, work) => this.doEnsure(w, work),
      abandon: (w) => this.drop(w),
    });
    this.remove = deps.operations.define<PoolImageWanted>({
      name: 'pool.image.remove',
      lockKey,
      run: (w) => this.doRemove(w),
    });
  }

  private async doEnsure(w: PoolImageWanted, work: LongWork): Promise<void> {
    const { store, storage, disks, hostName } = this.deps;
    const pool = store.pool(w.poolId);
    if (pool === undefined) throw notFound(`pool ${w.poolId} is not on ${hostName}`);
    if (!pool.spec.shared)
      throw badState(`pool ${pool.spec.name} is of one host: its volumes need no copy of images in it`);
    const uuid = poolUuid(w.poolId);
    await storage.refresh(uuid);
    await insistMark(this.deps, pool);
    if (await storage.hasVolume(uuid, wholeFile(w.digest))) return;
    if (work.signal.aborted) throw work.signal.reason;
    const image = (await disks.listImages()).find((i) => i.digest === w.digest);
    if (image === undefined) throw notFound(`${hostName} has no copy of image ${w.digest}`);
    // what is there without the word that it is whole is what is left of one that ended
    await storage.removeVolume(uuid, imageFile(w.digest));
    const { size } = await stat(disks.imagePath(w.digest));
    await storage.createVolume(uuid, { name: imageFile(w.digest), format: 'raw', capacityBytes: size, readable: true });
    await this.write(uuid, w.digest, size, work);
    await storage.sync(`${pool.spec.source.targetPath}/${imageFile(w.digest)}`, size);
    await storage.createVolume(uuid, {
      ...{ name: wholeFile(w.digest), format: 'raw', capacityBytes: WHOLE_BYTES, readable: true },
    });
  }

  private async write(uuid: string, digest: string, size: number, work: LongWork): Promise<void> {
    const { disks, storage } = this.deps;
    let done = 0;
    const count = new Transform({
      transform(chunk: Buffer, _encoding, next) {
        done += chunk.length;
        work.onProgress(done, size);
        next(null, chunk);
      },
    });
    const sink = await storage.upload(uuid, imageFile(digest), size);
    await pipeline(createReadStream(disks.imagePath(digest)), count, sink, { signal: work.signal });
  }

  private async drop({ poolId, digest }: PoolImageWanted): Promise<void> {
    const uuid = poolUuid(poolId);
    if (this.deps.store.pool(poolId) === undefined || (await this.deps.storage.hasVolume(uuid, wholeFile(digest))))
      return;
    await this.deps.storage.removeVolume(uuid, imageFile(digest));
  }

  private async doRemove({ poolId, digest }: PoolImageWanted): Promise<void> {
    const { store, storage } = this.deps;
    const user = store.volumesIn(poolId).find((v) => v.imageDigest === digest);
    if (user)
      throw new ClusterError(
        'IN_USE',
        `image ${digest} is in use: volume ${user.volumeId} of ${user.vmId} in the pool`,
      );
    if (store.pool(poolId) === undefined) return;
    await storage.refresh(poolUuid(poolId));
    const elsewhere = await userOfPoolImage(storage, poolUuid(poolId), imageFile(digest));
    if (elsewhere !== undefined)
      throw new ClusterError('IN_USE', `image ${digest} is in use: ${elsewhere} in the pool is based on it`);
    try {
      // it counts no more before it goes
      await storage.removeVolume(poolUuid(poolId), wholeFile(digest));
      await storage.removeVolume(poolUuid(poolId), imageFile(digest));
    } catch (e) {
      if (!isClusterError(e, 'NOT_FOUND')) throw e;
    }
  }
}
