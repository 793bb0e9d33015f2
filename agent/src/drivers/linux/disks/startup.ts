/** What a crash may have left half-made is swept up when the agent starts, before anything else is done in the pool. */
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { endOrphans } from '../orphans.ts';
import { sizeOf } from './files.ts';
import { preparePool, type Pool } from './pool.ts';
import { listSidecars, removeSidecar } from './sidecars.ts';

/** A finished upload that nobody imported for so long is forgotten. */
const UPLOAD_KEPT_MS = 7 * 24 * 3_600_000;

export async function openPool(pool: Pool, clock: Clock): Promise<void> {
  await preparePool(pool);
  await endOrphans(); // they may hold locks on what is tried again
  await sweep(pool.stagingDir, (name) => !name.startsWith('fetch-'));
  await sweep(pool.runDir, (name) => name.startsWith('digest-'));
  await sweep(pool.uploadsDir, (name) => name.endsWith('.part') || isHalf(name));
  await sweep(pool.volumesDir, isHalf);
  await sweep(pool.imagesDir, isHalf);
  await sweepUploads(pool, clock);
  await sweepManifests(pool);
  for (const s of await listSidecars(pool))
    if (!(await sizeOf(pool.volumePath(s.volumeId, s.seed, s.format)))) await removeSidecar(pool, s.volumeId);
}

const isHalf = (name: string): boolean => name.startsWith('.') && name.endsWith('.half');

async function sweep(dir: string, isLitter: (name: string) => boolean): Promise<void> {
  for (const name of await readdir(dir))
    if (isLitter(name)) await rm(join(dir, name), { recursive: true, force: true });
}

async function sweepUploads(pool: Pool, clock: Clock): Promise<void> {
  const names = await readdir(pool.uploadsDir);
  for (const name of names) {
    // what is known of it was written when it came; the file itself may be another name of an image, as old as that
    const facts = `${name}.json`;
    const file = await sizeOf(join(pool.uploadsDir, names.includes(facts) ? facts : name));
    if (file && clock.now() - file.mtimeMs > UPLOAD_KEPT_MS) await rm(join(pool.uploadsDir, name), { force: true });
  }
}

/** Manifests are written before the image and removed after it. */
async function sweepManifests(pool: Pool): Promise<void> {
  const names = await readdir(pool.imagesDir);
  for (const name of names) {
    const hex = /^([0-9a-f]{64})\.(json|chunks)$/.exec(name)?.[1];
    if (hex !== undefined && !names.includes(`${hex}.qcow2`)) await rm(join(pool.imagesDir, name), { force: true });
  }
}
