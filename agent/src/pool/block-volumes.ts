/**
 * Volumes that are no files: images of Ceph, logical volumes. Raw, so that nothing in them is an overlay: a clone is a copy of its
 * image. Room of LVM still holds what whoever had it before wrote there, so all of a volume is written before a guest sees it. Until
 * then it is no volume of this host: an agent that was killed meanwhile writes it anew.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  alreadyExists,
  ClusterError,
  invalidArgument,
  isClusterError,
  notFound,
} from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { blockPath, type BlockSource, type LongWork, type NetworkSource, type VolumeSpec } from '../drivers/disks.ts';
import type { Storage } from '../drivers/storage.ts';
import type { AllDisks } from '../drivers/volume-work.ts';
import { poolUuid, secretUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume, PoolStore } from './pool-store.ts';

export interface BlockVolumeDeps {
  readonly store: PoolStore;
  readonly storage: Storage;
  readonly hostName: string;
}

type InPool = VolumeSpec & { readonly poolId: string };

/** How QEMU gets at it. */
export function blockSourceOf({ spec: { poolId, source } }: KeptPool, volumeId: string): BlockSource {
  if (source.type !== 'rbd') return { type: 'block', dev: `${source.targetPath}/${volumeId}` };
  const auth = source.authUser === '' ? {} : { auth: { user: source.authUser, secretUuid: secretUuid(poolId) } };
  const name = `${source.name}/${volumeId}`;
  return { type: 'network', protocol: 'rbd', name, hosts: source.hosts, ...auth };
}

export const blockPathOf = (pool: KeptPool, volumeId: string): string => blockPath(blockSourceOf(pool, volumeId));

export class BlockVolumes {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: BlockVolumeDeps,
  ) {}

  /** @param kept as it shall be remembered; @param there as it is. Twice is once. */
  async ensure(pool: KeptPool, spec: InPool, kept: KeptVolume, work: LongWork): Promise<void> {
    const { store, storage, hostName } = this.deps;
    const uuid = poolUuid(spec.poolId);
    const there = store.volume(spec.volumeId);
    const isMade = there !== undefined && there.unfinished !== true;
    const isInPool = await storage.hasVolume(uuid, spec.volumeId);
    if (isMade && isInPool) return;
    if (there === undefined && isInPool)
      throw alreadyExists(
        `pool ${pool.spec.name} has a volume ${spec.volumeId} that ${hostName} knows nothing of: it stays as it is`,
      );
    await this.checkImage(spec);
    await store.putVolume({ ...kept, unfinished: true });
    try {
      await this.create(pool, spec);
      await this.fill(pool, spec, work);
    } catch (e) {
      if (!isLater(e)) await this.takeBack(spec);
      throw e;
    }
    await store.putVolume(kept);
  }

  /** Overwrites it. */
  async wipe({ volumeId, poolId }: KeptVolume): Promise<void> {
    await this.deps.storage.wipeVolume(poolUuid(poolId), volumeId);
  }

  /** @throws UNSUPPORTED where libvirt can't */
  async resize(pool: KeptPool, { volumeId, poolId }: KeptVolume, sizeBytes: number): Promise<void> {
    if (pool.spec.source.type === 'logical')
      throw new ClusterError(
        'UNSUPPORTED',
        `volume ${volumeId} is a logical volume in pool ${pool.spec.name}: it keeps its size. Give the vm another disk`,
      );
    await this.deps.storage.resizeVolume(poolUuid(poolId), volumeId, sizeBytes);
  }

  private async checkImage({ imageDigest, volumeId, sizeBytes, format }: InPool): Promise<void> {
    if (format === 'qcow2') throw invalidArgument(`volume ${volumeId} cannot be qcow2: its pool holds no files`);
    if (imageDigest === undefined) return;
    const image = (await this.own.listImages()).find((i) => i.digest === imageDigest);
    if (image === undefined) throw notFound(`${this.deps.hostName} has no copy of image ${imageDigest}`);
    if (sizeBytes < image.virtualSizeBytes)
      throw invalidArgument(
        `a disk of ${formatBytes(sizeBytes)} is smaller than its image (${formatBytes(image.virtualSizeBytes)}); ask for that or more`,
      );
  }

  /** What is there is what a call before this one began: begun anew, so that nothing of it is left. */
  private async create({ spec: { source } }: KeptPool, { volumeId: name, poolId, sizeBytes }: InPool): Promise<void> {
    const { storage } = this.deps;
    const uuid = poolUuid(poolId);
    await storage.removeVolume(uuid, name);
    const allocated = source.type === 'logical';
    await storage.createVolume(uuid, { name, format: 'raw', capacityBytes: sizeBytes, allocated });
  }

  private async fill(pool: KeptPool, spec: InPool, work: LongWork): Promise<void> {
    const source = blockSourceOf(pool, spec.volumeId);
    if (source.type === 'block') return this.fillDevice(spec, work);
    if (spec.imageDigest === undefined) return;
    const secret = source.auth && (await this.deps.storage.secretValue(source.auth.secretUuid));
    await this.own.blocks.writeOut(spec.imageDigest, { source: source satisfies NetworkSource, secret }, work);
  }

  /** The image, and zeros behind it to the very end: a volume may be larger than was asked for. */
  private async fillDevice({ poolId, volumeId, imageDigest }: InPool, work: LongWork): Promise<void> {
    const { storage } = this.deps;
    const uuid = poolUuid(poolId);
    const { capacityBytes } = await storage.lookAtVolume(uuid, volumeId);
    const sink = await storage.upload(uuid, volumeId, capacityBytes);
    const image = imageDigest === undefined ? [] : this.own.blocks.readImage(imageDigest, work.signal);
    const all = counted(filledUp(image, capacityBytes), (done) => work.onProgress(done, capacityBytes));
    await pipeline(Readable.from(all, { objectMode: false }), sink, { signal: work.signal });
  }

  private async takeBack({ poolId, volumeId }: InPool): Promise<void> {
    try {
      await this.deps.storage.removeVolume(poolUuid(poolId), volumeId);
    } catch {
      return; // it stays on record, so that whoever asked for it can have it removed
    }
    await this.deps.store.dropVolume(volumeId);
  }
}

/** The work is taken up again: by the next agent, or when libvirt or the pool answers. */
const isLater = (e: unknown): boolean =>
  isClusterError(e, 'HOST_UNREACHABLE', 'HYPERVISOR_UNAVAILABLE') || (isClusterError(e) && e.meta['silent'] === 'true');

const ZEROS = Buffer.alloc(4 * 2 ** 20);

async function* filledUp(
  data: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  wholeBytes: number,
): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const piece of data) {
    at += piece.length;
    yield piece;
  }
  for (; at < wholeBytes; at += ZEROS.length) yield ZEROS.subarray(0, Math.min(ZEROS.length, wholeBytes - at));
}

async function* counted(
  pieces: AsyncIterable<Uint8Array>,
  tell: (doneBytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const piece of pieces) {
    yield piece;
    tell((done += piece.length));
  }
}
