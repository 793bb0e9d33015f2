/**
 * Volumes that are no files: images of Ceph, logical volumes. Raw, so that nothing in them is an overlay: a clone is a copy of its
 * image, and what somebody sent is a copy of that. Room of LVM still holds what whoever had it before wrote there, so all of a volume is written before a guest sees it. Until
 * then it is no volume of this host: an agent that was killed meanwhile writes it anew.
 */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { bytesOf } from '@berth/shared/disk/pieces.ts';
import {
  alreadyExists,
  ClusterError,
  invalidArgument,
  isClusterError,
  notFound,
  unsupported,
} from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { LongWork, VolumeSpec } from '../drivers/disks.ts';
import type { Storage } from '../drivers/storage.ts';
import type { AllDisks, NetworkTarget, VolumeFile } from '../drivers/volume-work.ts';
import { networkTarget } from './block-bytes.ts';
import { blockSourceOf, fileOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume, PoolStore } from './pool-store.ts';

export interface BlockVolumeDeps {
  readonly store: PoolStore;
  readonly storage: Storage;
  readonly hostName: string;
}

type InPool = VolumeSpec & { readonly poolId: string };

/** What one holds when it is made; zeros are behind it. */
export interface Content {
  /** @throws when it can not be there, before anything is made. */
  check(): Promise<void>;
  /** For a device, in order. */
  bytes(signal: AbortSignal): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** For storage behind the network, which is zero. */
  writeOut(target: NetworkTarget, work: LongWork): Promise<void>;
}

/** The bytes of a raw file that was looked at. */
export const fileContent = (
  { blocks }: Pick<AllDisks, 'blocks'>,
  { volumeId, sizeBytes }: Pick<VolumeSpec, 'volumeId' | 'sizeBytes'>,
  file: VolumeFile,
): Content => ({
  async check() {
    if (file.fileBytes > sizeBytes)
      throw invalidArgument(
        `a file of ${file.fileBytes} bytes does not fit in volume ${volumeId}, which has ${sizeBytes}`,
      );
  },
  bytes: (signal) => bytesOf(file.pieces(signal)),
  async writeOut(target, work) {
    if (file.ownPath === undefined) throw unsupported(`volume ${volumeId} comes to Ceph only from a file of its host`);
    await blocks.writeFileOut({ path: file.ownPath, sizeBytes: file.fileBytes }, target, work);
  },
});

export class BlockVolumes {
  constructor(
    private readonly own: AllDisks,
    private readonly deps: BlockVolumeDeps,
  ) {}

  /** @param kept as it shall be remembered; @param how with what in it; absent: its image, or nothing. Twice is once. */
  async ensure(
    pool: KeptPool,
    spec: InPool,
    kept: KeptVolume,
    how: { readonly content?: Content; readonly work: LongWork },
  ): Promise<void> {
    const { content = this.imageContent(spec), work } = how;
    const { store, hostName } = this.deps;
    const uuid = poolUuid(spec.poolId);
    const there = store.volume(spec.volumeId);
    const isMade = there !== undefined && there.unfinished !== true;
    const isInPool = await this.isInPool(uuid, spec.volumeId, isMade);
    if (isMade && isInPool) return;
    if (there === undefined && isInPool) throw notOurs(pool.spec.name, spec.volumeId, hostName);
    if (spec.format === 'qcow2')
      throw invalidArgument(`volume ${spec.volumeId} cannot be qcow2: its pool holds no files`);
    await content.check();
    await store.putVolume({ ...kept, unfinished: true });
    let isOurs = there !== undefined;
    try {
      await this.create(pool, spec, isOurs);
      isOurs = true;
      await this.fill(pool, spec, content, work);
    } catch (e) {
      if (!isLater(e)) await (isOurs ? this.takeBack(spec) : store.dropVolume(spec.volumeId));
      throw e;
    }
    await store.putVolume(kept);
  }

  /** Overwrites it. */
  async wipe(kept: KeptVolume): Promise<void> {
    await this.deps.storage.wipeVolume(poolUuid(kept.poolId), fileOf(kept));
  }

  /** Kept afterwards is what is new of it. @throws DISK_FULL */
  async resize(pool: KeptPool, kept: KeptVolume, sizeBytes: number): Promise<void> {
    const { store, storage } = this.deps;
    const { volumeId, poolId } = kept;
    if (kept.unit)
      throw new ClusterError(
        'UNSUPPORTED',
        `volume ${volumeId} is a unit of pool ${pool.spec.name}: its storage makes it larger, not Berth`,
      );
    const source = blockSourceOf(pool, kept);
    if (source.type === 'block') await this.extend(kept, source.dev, sizeBytes);
    else await storage.resizeVolume(poolUuid(poolId), volumeId, sizeBytes);
    const { cleanBytes: _, ...clean } = kept;
    await store.putVolume({ ...clean, sizeBytes });
  }

  /**
   * What is new of it is zeros before a guest sees it: until then its record says from where on it is not, and it starts no guest.
   * Nothing before that is touched, however often this is begun anew.
   */
  private async extend(kept: KeptVolume, device: string, sizeBytes: number): Promise<void> {
    const { store, storage } = this.deps;
    const uuid = poolUuid(kept.poolId);
    const { capacityBytes } = await storage.lookAtVolume(uuid, kept.volumeId);
    const cleanBytes = kept.cleanBytes ?? capacityBytes;
    if (cleanBytes >= sizeBytes) return;
    await store.putVolume({ ...kept, cleanBytes });
    try {
      if (capacityBytes < sizeBytes) await storage.extendDevice(device, sizeBytes);
    } catch (e) {
      // nothing of it has become larger
      if (isClusterError(e, 'DISK_FULL') && cleanBytes === capacityBytes) await store.putVolume(kept);
      throw e;
    }
    await storage.refresh(uuid);
    const now = await storage.lookAtVolume(uuid, kept.volumeId);
    if (now.capacityBytes < sizeBytes)
      throw new ClusterError(
        'INTERNAL',
        `volume ${kept.volumeId} has ${now.capacityBytes} bytes after it was extended`,
      );
    const bytes = now.capacityBytes - cleanBytes;
    const sink = await storage.upload(uuid, kept.volumeId, bytes, cleanBytes);
    await pipeline(Readable.from(filledUp([], bytes), { objectMode: false }), sink);
  }

  private imageContent(spec: InPool): Content {
    const { imageDigest: digest } = spec;
    const { blocks } = this.own;
    return {
      check: () => this.checkImage(spec),
      bytes: (signal) => (digest === undefined ? [] : blocks.readImage(digest, signal)),
      writeOut: async (target, work) => void (digest !== undefined && (await blocks.writeOut(digest, target, work))),
    };
  }

  private async checkImage({ imageDigest, sizeBytes }: InPool): Promise<void> {
    if (imageDigest === undefined) return;
    const image = (await this.own.listImages()).find((i) => i.digest === imageDigest);
    if (image === undefined) throw notFound(`${this.deps.hostName} has no copy of image ${imageDigest}`);
    if (sizeBytes < image.virtualSizeBytes)
      throw invalidArgument(
        `a disk of ${formatBytes(sizeBytes)} is smaller than its image (${formatBytes(image.virtualSizeBytes)}); ask for that or more`,
      );
  }

  /** What a call before this one began is begun anew, so that nothing of it is left. */
  private async create(
    { spec: { source, name: pool } }: KeptPool,
    { volumeId: name, poolId, sizeBytes }: InPool,
    begun: boolean,
  ): Promise<void> {
    const { storage, hostName } = this.deps;
    const uuid = poolUuid(poolId);
    if (begun) await storage.removeVolume(uuid, name);
    const allocated = source.type === 'logical';
    try {
      await storage.createVolume(uuid, { name, format: 'raw', capacityBytes: sizeBytes, allocated });
    } catch (e) {
      // libvirt learns only now of what another host has made there
      throw isClusterError(e, 'ALREADY_EXISTS') && !begun ? notOurs(pool, name, hostName) : e;
    }
  }

  /** @param shall one that is made is not made anew because libvirt has not looked lately. */
  private async isInPool(uuid: string, name: string, shall: boolean): Promise<boolean> {
    const { storage } = this.deps;
    if (await storage.hasVolume(uuid, name)) return true;
    if (!shall) return false;
    await storage.refresh(uuid);
    return storage.hasVolume(uuid, name);
  }

  private async fill(pool: KeptPool, spec: InPool, content: Content, work: LongWork): Promise<void> {
    const target = await networkTarget(this.deps.storage, pool, { volumeId: spec.volumeId });
    await (target ? content.writeOut(target, work) : this.fillDevice(spec, content, work));
  }

  /** What it shall hold, and zeros behind that to the very end: a volume may be larger than was asked for. */
  private async fillDevice({ poolId, volumeId, sizeBytes }: InPool, content: Content, work: LongWork): Promise<void> {
    const { storage } = this.deps;
    const uuid = poolUuid(poolId);
    const { capacityBytes } = await storage.lookAtVolume(uuid, volumeId);
    if (capacityBytes < sizeBytes)
      throw new ClusterError('INTERNAL', `volume ${volumeId} has ${capacityBytes} bytes, and should have ${sizeBytes}`);
    const sink = await storage.upload(uuid, volumeId, capacityBytes);
    const all = counted(filledUp(content.bytes(work.signal), capacityBytes), (done) =>
      work.onProgress(done, capacityBytes),
    );
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

export const notOurs = (pool: string, volumeId: string, hostName: string): ClusterError =>
  alreadyExists(`pool ${pool} has a volume ${volumeId} that ${hostName} knows nothing of: it stays as it is`);

/** The work is taken up again: by the next agent, or when libvirt or the pool answers. */
const isLater = (e: unknown): boolean =>
  isClusterError(e, 'HOST_UNREACHABLE', 'HYPERVISOR_UNAVAILABLE', 'STORAGE_UNAVAILABLE');

const ZEROS = Buffer.alloc(4 * 2 ** 20);

export async function* filledUp(
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

export async function* counted(
  pieces: AsyncIterable<Uint8Array>,
  tell: (doneBytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const piece of pieces) {
    yield piece;
    tell((done += piece.length));
  }
}
