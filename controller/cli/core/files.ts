/** Small files that a person names on the command line: keys, tokens, user-data. Disk images are read as streams instead. */
import { readFileSync, statSync } from 'node:fs';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const LIMIT_BYTES = 1 << 20;

/** Content of a text file of at most 1 MiB; empty when no file is named. */
export function readText(path: string | undefined): string {
  if (path === undefined) return '';
  try {
    if (statSync(path).size > LIMIT_BYTES) throw new Error('larger than 1 MiB');
    return readFileSync(path, 'utf8');
  } catch (e) {
    throw invalidArgument(`can't read ${path}`, {}, e);
  }
}
