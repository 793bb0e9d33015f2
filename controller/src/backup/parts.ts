/**
 * What of a data directory goes into a backup: everything that a controller cannot make anew. Whatever is not known to be
 * of no use is taken, so that a file which a later version puts there is not forgotten.
 */
import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { paths } from '../trust/identity.ts';
import { CONTROL_DIR } from './control-path.ts';
import type { PartRow } from './manifest.ts';

/** Absolute paths of files, in a fixed order. The database is not among them: it is copied apart. */
export function filesOf(dataDir: string): readonly string[] {
  // the head of the audit log is of another moment than the copy of the database; a controller makes it anew
  const { database, lastSeen, auditHead } = paths(dataDir);
  const without = new Set([lastSeen, auditHead, ...['', '-wal', '-shm', '-journal', '.pid'].map((s) => database + s)]);
  const below = (dir: string): string[] =>
    readdirSync(dir, { withFileTypes: true }).flatMap((entry) => {
      const path = join(dir, entry.name);
      if (entry.isDirectory()) return relative(dataDir, path) === CONTROL_DIR ? [] : below(path);
      return entry.isFile() && !without.has(path) && !entry.name.endsWith('.new') ? [path] : [];
    });
  return below(dataDir).sort();
}

/** A file as it was when it was opened: a controller that replaces it meanwhile does not change it here. */
export interface Part {
  readonly row: PartRow;
  readonly file: FileHandle;
}

/** The caller closes it. */
export async function openPart(path: string, name: string): Promise<Part> {
  const file = await open(name);
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of file.createReadStream({ start: 0, autoClose: false })) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
    return { row: { path, bytes, sha256: hash.digest('hex') }, file };
  } catch (e) {
    await file.close();
    throw e;
  }
}
