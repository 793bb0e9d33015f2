/**
 * The files in which the kernel tells about a machine, below a root that tests may put elsewhere. Reads are bounded, and what
 * is not there is empty: machines differ, and none has everything. What the texts mean is their parsers'.
 */
import { open, readdir, readFile, readlink, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { kernelText } from './kernel-text.ts';

/** What the kernel writes into one file is a page, seldom more. */
const MOST_BYTES = 64 * 1024;
const MOST_ENTRIES = 4_096;

export class RootFiles {
  constructor(private readonly root = '/') {}

  path(path: string): string {
    return join(this.root, path);
  }

  /** The whole file; for those that must be there and may be long. */
  all(path: string): Promise<string> {
    return readFile(this.path(path), 'utf8');
  }

  /** Its first 64 KiB; empty when it is not there or cannot be read. */
  async text(path: string): Promise<string> {
    try {
      const file = await open(this.path(path), 'r');
      try {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(MOST_BYTES), 0, MOST_BYTES, 0);
        return buffer.toString('utf8', 0, bytesRead);
      } finally {
        await file.close();
      }
    } catch {
      return '';
    }
  }

  /** As `text`, at once: for what the kernel has in its memory and asks no device for. */
  now(path: string): string {
    return kernelText(this.path(path)) ?? '';
  }

  /** Its first line, without space around it. */
  async line(path: string): Promise<string> {
    return ((await this.text(path)).split('\n')[0] ?? '').trim();
  }

  /** Names in a directory, sorted as people count; at most 4096. */
  async names(path: string): Promise<string[]> {
    const names = await readdir(this.path(path)).catch(() => [] as string[]);
    return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).slice(0, MOST_ENTRIES);
  }

  /** The last part of what a link points to; empty for none. */
  async linkName(path: string): Promise<string> {
    return basename(await readlink(this.path(path)).catch(() => ''));
  }

  /** Where it really is; empty when it is not there. */
  realPath(path: string): Promise<string> {
    return realpath(this.path(path)).catch(() => '');
  }

  async exists(path: string): Promise<boolean> {
    return (await stat(this.path(path)).catch(() => undefined)) !== undefined;
  }
}
