/**
 * The disk driver on a real host: puts the parts under disks/ and fetch/ together and keeps what must not happen at the same
 * time apart. Every file lies under one data directory; nothing is remembered that isn't in it.
 */
import { readFile } from 'node:fs/promises';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { AllDisks, ResumableUploads } from '../volume-work.ts';
import { createBlockWork } from './disks/block-work.ts';
import { captureDone, capturedDisk, captureTarget, captureVolume, dropCapture } from './disks/capture.ts';
import { captureSnapshot } from './disks/changes/capture-snapshot.ts';
import { createDigestService } from './disks/digest-service.ts';
import { exportImage, readStaged } from './disks/export.ts';
import { createImageStore } from './disks/images.ts';
import { importImage, type ImportParts } from './disks/import.ts';
import { createPool, type Pool } from './disks/pool.ts';
import { ensureSeed } from './disks/seeds.ts';
import { ensureFullClone } from './disks/full-clone.ts';
import { packHashFile } from './disks/hash-list.ts';
import { boundSerialLogs } from './disks/serial-bound.ts';
import { readSerialLog, removeSerialLog } from './disks/serial-logs.ts';
import { createImageServers, type ImageServers } from './disks/serve.ts';
import { listSidecars } from './disks/sidecars.ts';
import { spaceOf } from './disks/space.ts';
import { stampOf } from './disks/stamp.ts';
import { openPool } from './disks/startup.ts';
import { createResumable } from './disks/resumable.ts';
import { createUploads } from './disks/uploads.ts';
import { ensureVolume, findVolume, listVolumes, removeVolume } from './disks/volumes.ts';
import { takeBack } from './disks/changes/own-file.ts';
import { removeOtherFormats } from './disks/changes/rewrite.ts';
import { createVolumeWork } from './disks/changes/volume-work.ts';
import { createExec, type Exec } from './exec.ts';
import { createBaseServers, type BaseServers } from './fetch/base-server.ts';
import { createFetcher, type Fetcher } from './fetch/fetcher.ts';
import { basesOf, ensureInstant, isRelayed, relayedHashes, serveImage } from './fetch/bases.ts';
import { createHelpers } from './helpers.ts';

export interface LinuxDisksOptions {
  readonly dataDir: string;
  /** Account that disk tools run as; it must be able to pass through the folders above `dataDir`. */
  readonly unprivilegedUser: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Of the host; absent: as its kernel says. */
  readonly bootId?: () => Promise<string>;
}

interface Parts extends ImportParts {
  readonly servers: ImageServers;
  readonly fetcher: Fetcher;
  readonly clock: Clock;
  readonly bases: BaseServers;
  readonly resumable: ResumableUploads;
  readonly log: Log;
}

/** Sweeps up after a crash and takes over running helpers; every call waits for that. One process per data directory. */
export function createDisks(options: LinuxDisksOptions): AllDisks {
  const parts = assemble(options);
  const { pool } = parts;
  const locks = new KeyedTurns();
  const opened = open(parts, options.clock);
  // told by the first call that needs the pool
  opened.catch(() => undefined);
  const ready =
    <A extends unknown[], R>(fn: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      await opened;
      return fn(...args);
    };
  const onVolume = <T>(id: string, fn: () => Promise<T>): Promise<T> => locks.run(`volume ${id}`, fn);
  const onImage = <T>(digest: string, fn: () => Promise<T>): Promise<T> => locks.run(`image ${digest}`, fn);
  return {
    capacity: ready(() => spaceOf(pool.dataDir)),
    openUpload: ready((id, bytes, allocated) => parts.uploads.open(id, bytes, allocated)),
    hasUpload: ready((id) => parts.uploads.has(id)),
    removeUpload: ready(async (id) => {
      await dropCapture(pool, id);
      await parts.uploads.remove(id);
    }),
    exportImage: ready((id, digest, format, work) => exportImage(parts, id, { digest, format }, work)),
    readStaged: async function* (id, offset, signal) {
      await opened;
      yield* readStaged(parts, id, offset, signal);
    },
    captureVolume: ready((uploadId, id, work) => onVolume(id, () => captureVolume(parts, uploadId, id, work))),
    captureSnapshot: ready((uploadId, of, work) =>
      onVolume(of.volumeId, () => captureSnapshot(parts, uploadId, of, work)),
    ),
    captureTarget: ready((uploadId, bytes) => captureTarget(parts, uploadId, bytes)),
    capturedDisk: ready((uploadId) => capturedDisk(parts, uploadId)),
    captureDone: ready((uploadId) => captureDone(parts, uploadId)),
    listImages: ready(() => parts.images.list()),
    importImage: ready((id, format, work) => locks.run(`upload ${id}`, () => importImage(parts, id, format, work))),
    fetchImage: ready((image, socket, work) => parts.fetcher.fetchImage(image, socket, work)),
    dropFetch: ready((digest) => parts.fetcher.dropFetch(digest)),
    removeImage: ready((digest) => onImage(digest, () => removeImage(parts, digest))),
    serveImage: ready((digest) => onImage(digest, () => serveImage(parts, digest))),
    imageHashes: ready(async (digest) => {
      if (await isRelayed(parts, digest)) return relayedHashes(parts, digest);
      await parts.images.get(digest);
      return packHashFile(pool.chunksPath(digest));
    }),
    isRelayed: ready((digest) => isRelayed(parts, digest)),
    ...basesOf(parts, ready, onVolume),
    listVolumes: ready(() => listVolumes(pool)),
    stamp: ready(() => stampOf(pool)),
    findVolume: ready((id) => findVolume(pool, id)),
    ensureVolume: ready((spec) =>
      onVolume(spec.volumeId, async () => {
        if (spec.imageDigest === undefined) return ensureVolume(parts, spec);
        if (spec.instant === true && !(await parts.images.find(spec.imageDigest)))
          return ensureInstant(parts, spec, spec.imageDigest);
        return onImage(spec.imageDigest, () => ensureVolume(parts, spec));
      }),
    ),
    ensureFullClone: ready((spec, work) => onVolume(spec.volumeId, () => ensureFullClone(parts, spec, work))),
    ensureSeed: ready((spec) => onVolume(spec.volumeId, () => ensureSeed(parts, spec))),
    blocks: createBlockWork({ ...parts, opened }),
    resumable: {
      find: ready((id) => parts.resumable.find(id)),
      digest: ready((id, signal) => parts.resumable.digest(id, signal)),
      open: ready((id, file) => parts.resumable.open(id, file)),
    },
    work: createVolumeWork(parts, {
      onVolume: ready((id, fn) => onVolume(id, fn)) as typeof onVolume,
      onImage,
    }),
    removeVolume: ready((id) => onVolume(id, () => removeVolume(pool, id))),
    volumePath: (id, seed, format) => pool.volumePath(id, seed, format),
    imagePath: (digest) => pool.imagePath(digest),
    serialLogPath: (vmId) => pool.serialLogPath(vmId),
    removeSerialLog: ready((vmId) => removeSerialLog(pool, vmId)),
    readSerialLog: ready((vmId, from, maxBytes) => readSerialLog(pool, vmId, from, maxBytes)),
    boundSerialLogs: ready(() => boundSerialLogs(parts)),
  };
}

function assemble({ dataDir, unprivilegedUser, clock, log, bootId = kernelBootId }: LinuxDisksOptions): Parts {
  const pool = createPool(dataDir);
  const exec = createExec({ unprivilegedUser });
  const images = createImageStore(pool);
  const digests = createDigestService({ exec, pool, clock });
  const helpers = createHelpers({ exec, pool, clock });
  const servers = createImageServers({ pool, helpers, images, clock, log });
  const bases = createBaseServers({ pool, helpers, clock });
  const fetcher = createFetcher({ pool, exec, helpers, images, digests, bases, servers, bootId, clock, log });
  const uploads = createUploads(pool);
  const resumable = createResumable(pool, uploads);
  return { pool, exec, images, digests, servers, fetcher, bases, clock, log, uploads, resumable };
}

const kernelBootId = async (): Promise<string> => (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();

async function open(parts: { pool: Pool; exec: Exec; servers: ImageServers }, clock: Clock): Promise<void> {
  await openPool(parts.pool, clock);
  await removeOtherFormats(parts.pool);
  await takeBack(parts.pool, parts.exec);
  await parts.servers.adopt();
}

/** @throws IN_USE while a volume is based on it. */
async function removeImage({ pool, images, servers }: Parts, digest: string): Promise<void> {
  const users = (await listSidecars(pool)).filter((s) => s.imageDigest === digest);
  const [first] = users;
  if (first) {
    const more = users.length > 1 ? ` and ${users.length - 1} more` : '';
    throw new ClusterError('IN_USE', `image ${digest} is in use: volume ${first.volumeId} of ${first.vmId}${more}`, {
      volumeIds: users.map((u) => u.volumeId).join(','),
    });
  }
  if (!(await images.find(digest))) return;
  await servers.stop(digest);
  await images.remove(digest);
}
