/**
 * Whether a volume or image has come, gone or been put in another's place: each of that is a name in a folder, and changes the time of the
 * folder. What guests write does not.
 */
import { stat } from 'node:fs/promises';
import type { Pool } from './pool.ts';

/** Fails where a folder cannot be read. */
export async function stampOf({ volumesDir, imagesDir, cacheDir }: Pool): Promise<string> {
  const folders = await Promise.all([volumesDir, imagesDir, cacheDir].map((dir) => stat(dir, { bigint: true })));
  return folders.map((f) => `${f.ino}:${f.mtimeNs}`).join();
}
