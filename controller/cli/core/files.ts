/** Files that a person names on the command line. Small ones (keys, tokens, user-data) are read here; disk images are streamed. */
import { accessSync, constants, existsSync, readFileSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const LIMIT_BYTES = 1 << 20;
const INPUT_LIMIT_BYTES = 4 << 20;
const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EISDIR: 'it is a directory',
  EACCES: 'permission denied',
};
const reason = (e: NodeJS.ErrnoException): string => WORDS[e.code ?? ''] ?? e.message;

/** Content of a text file of at most 1 MiB; empty when no file is named. */
export function readText(path: string | undefined): string {
  if (path === undefined) return '';
  try {
    if (statSync(path).size > LIMIT_BYTES) throw new Error('larger than 1 MiB');
    return readFileSync(path, 'utf8');
  } catch (e) {
    throw unreadable(path, e as NodeJS.ErrnoException);
  }
}

/** What somebody pipes in, at most 4 MiB. */
export async function readStandardInput(stdin: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk as Uint8Array);
    chunks.push(bytes);
    if ((size += bytes.length) > INPUT_LIMIT_BYTES) throw invalidArgument('standard input is longer than 4 MiB');
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Throws before anything is begun whose outcome could then not be written. */
export function insistWritable(path: string): void {
  try {
    accessSync(existsSync(path) ? path : dirname(path), constants.W_OK);
  } catch (e) {
    throw unwritable(path, e as NodeJS.ErrnoException);
  }
}

/** Of what can't be made the folder is what is missing. */
export const unwritable = (path: string, e: NodeJS.ErrnoException): Error =>
  invalidArgument(`can't write ${path}: ${e.code === 'ENOENT' ? `there is no folder ${dirname(path)}` : reason(e)}`);

export const unreadable = (path: string, e: NodeJS.ErrnoException): Error =>
  invalidArgument(`can't read ${path}: ${reason(e)}`);
