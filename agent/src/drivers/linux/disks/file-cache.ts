/**
 * Remembers what was read from small files for as long as each is the same file: inode, size and time of change. Lists are
 * asked for often and change seldom; a look costs one stat per file instead of opening and reading it.
 */
import type { BigIntStats } from 'node:fs';
import { stat } from 'node:fs/promises';

export class FileCache<T> {
  readonly #known = new Map<string, { readonly stamp: string; readonly value: T }>();

  /**
   * @param load is called when the file is new or has changed; what it throws is not remembered
   * @param seen what a look at the file has just said
   */
  async read(path: string, load: () => Promise<T>, seen?: BigIntStats): Promise<T> {
    // taken before the load: a file that changes meanwhile is read again the next time
    const stamp = seen ? stampOf(seen) : await stat(path, { bigint: true }).then(stampOf, untold);
    const known = this.#known.get(path);
    if (known !== undefined && known.stamp === stamp) return known.value;
    const value = await load();
    if (stamp !== undefined) this.#known.set(path, { stamp, value });
    return value;
  }

  /** Forgets all others. */
  keep(paths: ReadonlySet<string>): void {
    for (const path of this.#known.keys()) if (!paths.has(path)) this.#known.delete(path);
  }
}

const stampOf = (s: BigIntStats): string => `${s.dev}:${s.ino}:${s.size}:${s.mtimeNs}:${s.ctimeNs}`;

/** The load says what is wrong. */
const untold = (): undefined => undefined;
