/** volumes/<id>.json: what a volume is and whose, written before the volume itself. Atomic; no process is started to read one. */
import { readdir, readFile, rm } from 'node:fs/promises';
import * as z from 'zod';
import { FOREIGN_FORMATS } from '@berth/shared/model/volume.ts';
import { FileCache } from './file-cache.ts';
import { codeOf, tellingFull, writeAtomic } from './files.ts';
import type { Pool } from './pool.ts';

const Sidecar = z.object({
  version: z.literal(1),
  volumeId: z.string(),
  vmId: z.string(),
  seed: z.boolean(),
  sizeBytes: z.number(),
  imageDigest: z.string().optional(),
  /** Absent: qcow2. */
  format: z.enum(['raw', ...FOREIGN_FORMATS]).optional(),
  /** SHA-256 of a seed's files. */
  contentDigest: z.string().optional(),
});
export type Sidecar = z.output<typeof Sidecar>;

export async function writeSidecar(pool: Pool, sidecar: Sidecar): Promise<void> {
  await tellingFull('the volume', pool.volumesDir, () =>
    writeAtomic(pool.sidecarPath(sidecar.volumeId), `${JSON.stringify(sidecar)}\n`, 0o600),
  );
}

/** Undefined when there is none, or none that we wrote. */
export async function readSidecar(pool: Pool, volumeId: string): Promise<Sidecar | undefined> {
  try {
    return Sidecar.parse(JSON.parse(await readFile(pool.sidecarPath(volumeId), 'utf8')));
  } catch (e) {
    if (codeOf(e) === 'ENOENT' || e instanceof SyntaxError || e instanceof z.ZodError) return undefined;
    throw e;
  }
}

export const removeSidecar = (pool: Pool, volumeId: string): Promise<void> =>
  rm(pool.sidecarPath(volumeId), { force: true });

const caches = new WeakMap<Pool, FileCache<Sidecar | undefined>>();

export async function listSidecars(pool: Pool): Promise<readonly Sidecar[]> {
  const cache = caches.get(pool) ?? new FileCache<Sidecar | undefined>();
  caches.set(pool, cache);
  const ids = (await readdir(pool.volumesDir))
    .filter((n) => n.endsWith('.json') && !n.startsWith('.'))
    .map((n) => n.slice(0, -'.json'.length));
  const all = await Promise.all(ids.map((id) => cache.read(pool.sidecarPath(id), () => readSidecar(pool, id))));
  cache.keep(new Set(ids.map((id) => pool.sidecarPath(id))));
  return all.filter((s) => s !== undefined);
}
