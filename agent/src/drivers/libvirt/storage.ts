/**
 * The Storage interface over libvirt's RPC: each call goes the way of its pool (storage-lane.ts); lists and secrets have one of
 * their own. What pools shall be is decided elsewhere; only volumes get their XML here.
 */
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { alreadyExists, chain, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { el, textEl } from '../../domain/xml/text.ts';
import { parseXml, textAt } from '../../domain/xml/tree.ts';
import { deviceUser } from '../linux/device-users.ts';
import { filePieces } from '../linux/file-pieces.ts';
import type { ExtendVolume } from '../linux/lvm.ts';
import type { ReplaceFile } from '../linux/replace-file.ts';
import type {
  Storage,
  StorageFile,
  StoragePoolSeen,
  StorageRef,
  StorageVolumeSeen,
  StorageVolumeWanted,
} from '../storage.ts';
import { ioThreads } from '../../config.ts';
import { FolderLooks } from '../folder-looks.ts';
import { dial } from './dial.ts';
import { CODE, hasCode } from './errors.ts';
import type { Procedure } from './procedures.ts';
import { poolRef, STORAGE } from './procedures-storage.ts';
import { StorageLane } from './storage-lane.ts';
import { openStream } from './stream.ts';
import { writeSparse } from './sparse-write.ts';

export interface LibvirtStorageOptions {
  /** Asked for every connection: `libvirt-sock`, or `virtstoraged-sock` where libvirt's daemons are apart. */
  readonly socketPath: () => string;
  readonly uri: () => string;
  readonly clock: Clock;
  /** Of quick calls; tests are impatient. */
  readonly deadlineMs?: number | undefined;
  /** libvirt has no call for these two. */
  readonly extend: ExtendVolume;
  readonly replace: ReplaceFile;
}

const QUICK_MS = 10_000;
/** Mounting, logging in to targets, looking through a large folder. */
const SLOW_MS = 30_000;
/** Ceph looks whether a client that was killed is back, for 30 s, and takes what is large away piece by piece. */
const REMOVAL_MS = 180_000;
/** All that was written may have to reach a slow disk. */
const SYNC_MS = 1_800_000;
const BUSY_LOOK_MS = 500;
/** A client of Ceph that was killed has its images open for 30 s more. */
const HELD_MS = 60_000;
const NO_POOL = 49;
const NO_VOLUME = 50;
const VOLUME_EXISTS = 90;
const NO_SECRET = 66;
/** Lanes of no pool: a list waits for each pool that libvirt works on, secrets for none. */
const LISTS = '';
const SECRETS = 'secrets';
/** VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM. */
const SPARSE = 1;
/** More are counted by nobody: a pool with so many volumes is not one of ours. */
const MOST_VOLUMES = 10_000;

export const createLibvirtStorage = (o: LibvirtStorageOptions): Storage => new LibvirtStorage(o);

class LibvirtStorage implements Storage {
  readonly #lanes = new Map<string, StorageLane>();
  readonly #names = new Map<string, string>();

  readonly #syncs: FolderLooks;

  constructor(readonly o: LibvirtStorageOptions) {
    this.#syncs = new FolderLooks({ clock: o.clock, deadlineMs: SYNC_MS, mostHanging: Math.floor(ioThreads() / 4) });
  }

  async list(): Promise<readonly StorageRef[]> {
    const { pools } = await this.#call(LISTS, STORAGE.listPools, { needResults: 1, flags: 0 }, 'list storage pools');
    for (const p of pools) this.#names.set(p.uuid, p.name);
    this.#closeGone(new Set(pools.map((p) => p.uuid)));
    return pools;
  }

  async look(uuid: string): Promise<StoragePoolSeen | undefined> {
    const pool = poolRef(uuid);
    try {
      const { xml } = await this.#call(uuid, STORAGE.xml, { pool, flags: 0 }, 'describe a storage pool');
      const root = parseXml(xml);
      const name = textAt(root, 'name');
      this.#names.set(uuid, name);
      const info = await this.#call(uuid, STORAGE.info, { pool }, 'look at a storage pool');
      return {
        ...{ uuid, name, type: root.attributes['type'] ?? '', targetPath: textAt(root, 'target', 'path') },
        active: info.state !== 0,
        capacityBytes: Number(info.capacity),
        allocationBytes: Number(info.allocation),
        availableBytes: Number(info.available),
      };
    } catch (e) {
      if (hasCode(e, NO_POOL)) return undefined;
      throw e;
    }
  }

  async define(uuid: string, xml: string): Promise<void> {
    await this.#call(uuid, STORAGE.define, { xml, flags: 0 }, 'define the pool');
  }

  async build(uuid: string): Promise<void> {
    await this.#call(uuid, STORAGE.build, { pool: poolRef(uuid), flags: 0 }, 'make the folder of the pool', SLOW_MS);
  }

  async start(uuid: string): Promise<void> {
    const pool = poolRef(uuid);
    try {
      await this.#call(uuid, STORAGE.create, { pool, flags: 0 }, 'start the pool', SLOW_MS);
    } catch (e) {
      // it is up already
      if (!hasCode(e, CODE.operationInvalid) || (await this.look(uuid))?.active !== true) throw e;
    }
  }

  async stop(uuid: string): Promise<void> {
    try {
      await this.#call(uuid, STORAGE.destroy, { pool: poolRef(uuid) }, 'stop the pool', SLOW_MS);
    } catch (e) {
      if (!hasCode(e, CODE.operationInvalid, NO_POOL) || (await this.look(uuid))?.active === true) throw e;
    }
  }

  async undefine(uuid: string): Promise<void> {
    try {
      await this.#call(uuid, STORAGE.undefine, { pool: poolRef(uuid) }, 'forget the pool');
    } catch (e) {
      if (!hasCode(e, NO_POOL)) throw e;
    }
    this.#lanes.get(uuid)?.close('the pool is gone');
    this.#lanes.delete(uuid);
  }

  async refresh(uuid: string): Promise<void> {
    await this.#call(uuid, STORAGE.refresh, { pool: poolRef(uuid), flags: 0 }, 'look at what is in the pool', SLOW_MS);
  }

  async listVolumes(uuid: string): Promise<readonly StorageVolumeSeen[]> {
    const what = 'list the volumes of the pool';
    const args = { pool: poolRef(uuid), needResults: 1, flags: 0 };
    const { volumes } = await this.#call(uuid, STORAGE.listVolumes, args, what);
    const seen: StorageVolumeSeen[] = [];
    for (const volume of volumes.slice(0, MOST_VOLUMES)) {
      try {
        const { capacity, allocation } = await this.#call(uuid, STORAGE.volumeInfo, { volume }, what);
        seen.push({
          name: volume.name,
          key: volume.key,
          capacityBytes: Number(capacity),
          allocationBytes: Number(allocation),
        });
      } catch (e) {
        // removed meanwhile
        if (!hasCode(e, NO_VOLUME, CODE.systemError, CODE.internal)) throw e;
      }
    }
    return seen;
  }

  async hasVolume(uuid: string, name: string): Promise<boolean> {
    return (await this.#find(uuid, name)) !== undefined;
  }

  async lookAtVolume(uuid: string, name: string): Promise<StorageVolumeSeen> {
    const volume = await this.#need(uuid, name);
    const seen = await this.#call(uuid, STORAGE.volumeInfo, { volume }, `look at ${name} in the pool`);
    return { name, capacityBytes: Number(seen.capacity), allocationBytes: Number(seen.allocation) };
  }

  async pathOf(uuid: string, name: string): Promise<string> {
    return (await this.#pathOf(uuid, name)).path;
  }

  deviceUser(path: string): Promise<string | undefined> {
    return deviceUser(path);
  }

  async createVolume(uuid: string, wanted: StorageVolumeWanted): Promise<void> {
    const args = { pool: poolRef(uuid), xml: volumeXml(wanted), flags: 0 };
    try {
      await this.#call(uuid, STORAGE.createVolume, args, `make ${wanted.name} in the pool`, SLOW_MS);
    } catch (e) {
      if (!hasCode(e, VOLUME_EXISTS) && !(await this.#thereNow(uuid, wanted.name, e))) throw e;
      throw alreadyExists(`${wanted.name} is in the pool already`);
    }
  }

  async resizeVolume(uuid: string, name: string, capacityBytes: number): Promise<void> {
    const volume = await this.#need(uuid, name);
    const args = { volume, capacity: BigInt(capacityBytes), flags: 0 };
    await this.#call(uuid, STORAGE.resizeVolume, args, `make ${name} larger`, SLOW_MS);
  }

  async extendDevice(device: string, sizeBytes: number): Promise<void> {
    await this.o.extend(device, sizeBytes);
  }

  async replaceVolume(uuid: string, name: string, by: string): Promise<void> {
    const { path } = await this.#pathOf(uuid, by);
    const folder = dirname(path);
    await this.o.replace(path, join(folder, name));
    await this.#syncs.look(folder, () => syncFolder(folder));
    // libvirt looked before
    await this.refresh(uuid);
  }

  async removeVolume(uuid: string, name: string): Promise<void> {
    const volume = await this.#find(uuid, name);
    if (volume === undefined) return;
    const remove = (): Promise<unknown> =>
      this.#call(uuid, STORAGE.deleteVolume, { volume, flags: 0 }, `remove ${name} from the pool`, REMOVAL_MS);
    try {
      await this.#whenFree(uuid, name, HELD_MS, remove);
    } catch (e) {
      if (!hasCode(e, NO_VOLUME)) throw e;
    }
  }

  /** On a connection of its own: the pool answers others meanwhile. */
  async wipeVolume(uuid: string, name: string): Promise<void> {
    const volume = await this.#need(uuid, name);
    const args = { volume, algorithm: 0, flags: 0 };
    await this.#whenFree(uuid, name, Infinity, async () => {
      const connection = await this.#dial();
      try {
        await connection.call(STORAGE.wipeVolume, args, `overwrite ${name} in the pool`);
      } finally {
        connection.close('the volume has been overwritten');
      }
    });
  }

  /**
   * libvirt goes on with a volume though the agent that had asked for it was killed, and Ceph keeps an image open for a client
   * that was; nothing else is done with it until that ends.
   */
  async #whenFree(uuid: string, name: string, waitMs: number, fn: () => Promise<unknown>): Promise<void> {
    const { clock } = this.o;
    for (const until = clock.monotonic() + waitMs; ; await clock.sleep(BUSY_LOOK_MS)) {
      try {
        return void (await fn());
      } catch (e) {
        const isOpen = isHeldInCeph(e);
        if (!isOpen && (!hasCode(e, CODE.operationInvalid) || (await this.look(uuid))?.active !== true)) throw e;
        if (clock.monotonic() > until) throw stillBusy(name, isOpen, e);
      }
    }
  }

  async upload(uuid: string, name: string, bytes: number, at = 0): Promise<Writable> {
    const volume = await this.#need(uuid, name);
    const args = { volume, offset: BigInt(at), length: BigInt(bytes), flags: 0 };
    const stream = await openStream(await this.#dial(), STORAGE.upload, args, `write ${name} into the pool`);
    stream.resume();
    return stream;
  }

  async download(uuid: string, name: string): Promise<AsyncIterable<Uint8Array>> {
    const volume = await this.#need(uuid, name);
    const args = { volume, offset: 0n, length: 0n, flags: 0 };
    return openStream(await this.#dial(), STORAGE.download, args, `read ${name} from the pool`);
  }

  /** libvirt has no call for it, and its own writing ends in the page cache. */
  sync(path: string, bytes: number): Promise<void> {
    return this.#syncs.look(dirname(path), () => syncWritten(path, bytes));
  }

  async write(uuid: string, name: string, pieces: AsyncIterable<Piece>, bytes: number): Promise<void> {
    const { volume, path } = await this.#pathOf(uuid, name);
    const args = { volume, offset: 0n, length: BigInt(bytes), flags: SPARSE };
    const stream = await openStream(await this.#dial(), STORAGE.upload, args, `write ${name} into the pool`);
    stream.resume();
    await writeSparse(stream, pieces, bytes);
    await this.sync(path, bytes);
  }

  async read(uuid: string, name: string): Promise<StorageFile> {
    return filePieces((await this.#pathOf(uuid, name)).path, name);
  }

  async #pathOf(uuid: string, name: string) {
    const volume = await this.#find(uuid, name);
    if (volume === undefined) throw new ClusterError('NOT_FOUND', `there is no ${name} in the pool`);
    return { volume, path: (await this.#call(uuid, STORAGE.volumePath, { volume }, `look for ${name}`)).path };
  }

  async setSecret(s: StorageRef & { readonly usage: 'ceph' | 'iscsi'; readonly value: Uint8Array }): Promise<void> {
    const usage = s.usage === 'ceph' ? textEl('name', {}, s.name) : textEl('target', {}, s.name);
    const xml = el(
      'secret',
      // what writes images to Ceph gets it from here: private ones are given to nobody
      { ephemeral: 'no', private: s.usage === 'ceph' ? 'no' : 'yes' },
      textEl('uuid', {}, s.uuid),
      textEl('description', {}, `of storage pool ${s.name}`),
      el('usage', { type: s.usage }, usage),
    );
    const { secret } = await this.#secret(STORAGE.defineSecret, { xml, flags: 0 }, 'keep a secret of a pool');
    const value = Buffer.from(s.value);
    await this.#secret(STORAGE.setSecretValue, { secret, value, flags: 0 }, 'keep a secret of a pool');
  }

  async secretValue(uuid: string): Promise<Uint8Array> {
    try {
      const { secret } = await this.#secret(STORAGE.findSecret, { uuid }, 'look for a secret');
      return (await this.#secret(STORAGE.secretValue, { secret, flags: 0 }, 'read a secret of a pool')).value;
    } catch (e) {
      if (!hasCode(e, NO_SECRET)) throw e;
      throw new ClusterError('NOT_FOUND', 'libvirt has no secret for the pool');
    }
  }

  async removeSecret(uuid: string): Promise<void> {
    try {
      const { secret } = await this.#secret(STORAGE.findSecret, { uuid }, 'look for a secret');
      await this.#secret(STORAGE.undefineSecret, { secret }, 'forget a secret');
    } catch (e) {
      if (!hasCode(e, NO_SECRET)) throw e;
    }
  }

  silentMs(uuid: string): number | undefined {
    return this.#lanes.get(uuid)?.silentMs;
  }

  close(): Promise<void> {
    for (const lane of this.#lanes.values()) lane.close('the driver is closed');
    this.#lanes.clear();
    return Promise.resolve();
  }

  /** libvirt knows what it made itself; what another host made, after a look. */
  async #thereNow(uuid: string, name: string, e: unknown): Promise<boolean> {
    if (!hasCode(e, CODE.operationFailed, CODE.systemError)) return false;
    await this.refresh(uuid);
    return this.hasVolume(uuid, name);
  }

  async #find(uuid: string, name: string) {
    try {
      const args = { pool: poolRef(uuid), name };
      return (await this.#call(uuid, STORAGE.findVolume, args, `look for ${name} in the pool`)).volume;
    } catch (e) {
      if (hasCode(e, NO_VOLUME)) return undefined;
      throw e;
    }
  }

  async #need(uuid: string, name: string) {
    const volume = await this.#find(uuid, name);
    if (volume === undefined) throw new ClusterError('NOT_FOUND', `there is no ${name} in the pool`);
    return volume;
  }

  #secret<A, R>(procedure: Procedure<A, R>, args: A, what: string): Promise<R> {
    return this.#call(SECRETS, procedure, args, what);
  }

  #call<A, R>(
    uuid: string,
    procedure: Procedure<A, R>,
    args: A,
    what: string,
    ms = this.o.deadlineMs ?? QUICK_MS,
  ): Promise<R> {
    return this.#lane(uuid).call(procedure, args, what, ms);
  }

  /** Somebody has undefined them. One that is asked something just now may be about to be defined. */
  #closeGone(there: ReadonlySet<string>): void {
    for (const [uuid, lane] of this.#lanes) {
      if (uuid === LISTS || uuid === SECRETS || there.has(uuid) || lane.busy) continue;
      lane.close('the pool is gone');
      this.#lanes.delete(uuid);
      this.#names.delete(uuid);
    }
  }

  #lane(uuid: string): StorageLane {
    const known = this.#lanes.get(uuid);
    if (known) return known;
    const name = (): string => {
      const known = this.#names.get(uuid);
      return known === undefined ? 'a pool of this host' : `pool ${known}`;
    };
    const made = new StorageLane({ clock: this.o.clock, dial: () => this.#dial(), name });
    this.#lanes.set(uuid, made);
    return made;
  }

  async #dial() {
    const { socketPath, uri, clock } = this.o;
    try {
      return await dial({ socketPath: socketPath(), uri: uri(), clock });
    } catch (e) {
      throw new ClusterError('HYPERVISOR_UNAVAILABLE', `libvirt's storage does not answer: ${chain(e)}`);
    }
  }
}

/**
 * Its words after "failed to remove volume" are those of another error: libvirt 9.0 reads `errno`, which librbd does not set. An
 * image that is gone counts as removed, so what is left is one that somebody has open (EBUSY).
 */
const isHeldInCeph = (e: unknown): boolean =>
  hasCode(e, CODE.systemError) && /: failed to remove volume '/.test((e as ClusterError).message);

function stillBusy(name: string, isOpen: boolean, e: unknown): ClusterError {
  const words = isOpen
    ? `Ceph cannot remove ${name}: somebody has it open. See who does (rbd status), end that, then do this again`
    : `libvirt still works on ${name} in the pool: ${chain(e)}`;
  return new ClusterError('RESOURCE_BUSY', words);
}

async function syncWritten(path: string, bytes: number): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = await file.stat();
    if (size !== bytes) throw new ClusterError('INTERNAL', `${path} has got ${size} of ${bytes} bytes`);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolder(dirname(path));
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}

/** Nothing of it is allocated, whatever its format, unless that is asked for. */
function volumeXml(w: StorageVolumeWanted): string {
  const qcow2 = w.format === 'qcow2' ? [textEl('compat', {}, '1.1')] : [];
  return el(
    'volume',
    {},
    textEl('name', {}, w.name),
    textEl('capacity', { unit: 'bytes' }, w.capacityBytes),
    textEl('allocation', { unit: 'bytes' }, w.allocated === true ? w.capacityBytes : 0),
    el(
      'target',
      {},
      el('format', { type: w.format }),
      el('permissions', {}, textEl('mode', {}, w.readable === true ? '0644' : '0600')),
      ...qcow2,
    ),
    w.backingPath === undefined
      ? undefined
      : el('backingStore', {}, textEl('path', {}, w.backingPath), el('format', { type: 'qcow2' })),
  );
}
