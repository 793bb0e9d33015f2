/**
 * Where everything lies under the data directory. Paths only, and the checks that keep a name inside its folder; who may read
 * what is decided in `preparePool`, once.
 *
 *   images/<hex>.qcow2    0444, whole and verified; <hex>.json its manifest, <hex>.chunks its chunk hashes
 *   volumes/<id>.qcow2    disks of VMs, or <id>.raw; of nobody also <id>.vmdk and the like; <id>.moved.qcow2 what a running guest moves to (moves.ts); <id>.iso their seeds; <id>.json who owns them, written first
 *   uploads/<id>          0600, finished uploads; <id>.part while they come in, or <id>.coming when that goes on after a break
 *   staging/<work>/       half-made things of one piece of work; emptied when the agent starts, but for `fetch-*`
 *   cache/<hex>.qcow2     half-filled copies (fetch); <hex>.qcow2.hashes of their chunks
 *   customize/<id>/       changes to the guest on a volume, before they are put into it
 *   appliance/<hash>/     the small system that changes guests, made of this host's own packages
 *   run/                  sockets, process ids and logs of helpers
 *   serial/<vm>.log       serial consoles
 */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex } from '@berth/shared/disk/digest.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { KeptFormat } from '../../disks.ts';

export interface Pool {
  readonly dataDir: string;
  readonly imagesDir: string;
  readonly volumesDir: string;
  readonly uploadsDir: string;
  readonly stagingDir: string;
  readonly cacheDir: string;
  readonly runDir: string;
  readonly serialDir: string;
  readonly customizeDir: string;
  readonly applianceDir: string;
  imagePath(digest: string): string;
  manifestPath(digest: string): string;
  chunksPath(digest: string): string;
  /** The copy that a fetch fills. */
  cachePath(digest: string): string;
  uploadPath(uploadId: string): string;
  volumePath(volumeId: string, seed: boolean, format?: KeptFormat): string;
  sidecarPath(volumeId: string): string;
  serialLogPath(vmId: string): string;
  /** A private folder for one piece of work; the caller makes and removes it. */
  stagingPath(name: string): string;
  /** Folder of one helper: socket, log, process id. Short, because socket paths end at 107 bytes. */
  helperDir(name: string): string;
}

const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

function safe(kind: string, id: string): string {
  if (!FILE_NAME.test(id)) throw invalidArgument(`${JSON.stringify(id.slice(0, 80))} is not a ${kind} id`);
  return id;
}

export function createPool(dataDir: string): Pool {
  const dir = (name: string): string => join(dataDir, name);
  const images = dir('images');
  const volumes = dir('volumes');
  return {
    dataDir,
    imagesDir: images,
    volumesDir: volumes,
    uploadsDir: dir('uploads'),
    stagingDir: dir('staging'),
    cacheDir: dir('cache'),
    runDir: dir('run'),
    serialDir: dir('serial'),
    customizeDir: dir('customize'),
    applianceDir: dir('appliance'),
    imagePath: (digest) => join(images, `${digestHex(digest)}.qcow2`),
    manifestPath: (digest) => join(images, `${digestHex(digest)}.json`),
    chunksPath: (digest) => join(images, `${digestHex(digest)}.chunks`),
    cachePath: (digest) => join(dir('cache'), `${digestHex(digest)}.qcow2`),
    uploadPath: (id) => join(dir('uploads'), safe('upload', id)),
    volumePath: (id, seed, format = 'qcow2') => join(volumes, `${safe('volume', id)}.${seed ? 'iso' : format}`),
    sidecarPath: (id) => join(volumes, `${safe('volume', id)}.json`),
    serialLogPath: (id) => join(dir('serial'), `${safe('vm', id)}.log`),
    stagingPath: (name) => join(dir('staging'), safe('staging', name)),
    helperDir: (name) => join(dir('run'), safe('helper', name)),
  };
}

/** Makes the folders. QEMU's user and the unprivileged user may pass through where they have files, but list nothing. */
export async function preparePool(pool: Pool): Promise<void> {
  const passable = [
    pool.dataDir,
    pool.imagesDir,
    pool.volumesDir,
    pool.stagingDir,
    pool.cacheDir,
    pool.runDir,
    pool.serialDir,
    pool.customizeDir,
    pool.applianceDir,
    pool.uploadsDir, // what was captured is changed there, by the unprivileged user
  ];
  for (const dir of passable) await makeDir(dir, 0o711);
}

async function makeDir(dir: string, mode: number): Promise<void> {
  await mkdir(dir, { recursive: true });
  await chmod(dir, mode);
}
