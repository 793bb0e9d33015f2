/**
 * A sorted set of strings in chunks: adding or removing one costs a binary search and a move of at most CHUNK entries,
 * so a page of names is cheap and a new VM among 300,000 costs microseconds. Not a map: tables keep the values.
 */
const CHUNK = 512;

export class SortedKeys {
  #chunks: string[][];

  private constructor(chunks: string[][]) {
    this.#chunks = chunks;
  }

  static from(keys: Iterable<string>): SortedKeys {
    const all = [...keys];
    if (!isSorted(all)) all.sort();
    const chunks: string[][] = [];
    for (let i = 0; i < all.length; i += CHUNK / 2) chunks.push(all.slice(i, i + CHUNK / 2));
    return new SortedKeys(chunks);
  }

  add(key: string): void {
    if (this.#chunks.length === 0) return void this.#chunks.push([key]);
    const c = Math.min(this.#chunkOf(key), this.#chunks.length - 1);
    const chunk = this.#chunks[c]!;
    const i = lowerBound(chunk, key);
    if (chunk[i] === key) return;
    chunk.splice(i, 0, key);
    if (chunk.length > CHUNK) this.#chunks.splice(c, 1, chunk.slice(0, CHUNK / 2), chunk.slice(CHUNK / 2));
  }

  delete(key: string): void {
    const c = this.#chunkOf(key);
    const chunk = this.#chunks[c];
    if (!chunk) return;
    const i = lowerBound(chunk, key);
    if (chunk[i] !== key) return;
    chunk.splice(i, 1);
    if (chunk.length === 0) this.#chunks.splice(c, 1);
  }

  /** The first keys greater than `key`, in order; all from the start when undefined. */
  after(key: string | undefined, limit: number): string[] {
    const out: string[] = [];
    let c = key === undefined ? 0 : this.#chunkOf(key);
    let i = key === undefined ? 0 : upperBound(this.#chunks[c] ?? [], key);
    for (; c < this.#chunks.length && out.length < limit; c++, i = 0) {
      out.push(...this.#chunks[c]!.slice(i, i + limit - out.length));
    }
    return out;
  }

  /** The last keys less than `key`, greatest first; from the end when undefined. */
  before(key: string | undefined, limit: number): string[] {
    const out: string[] = [];
    let c = key === undefined ? this.#chunks.length - 1 : Math.min(this.#chunkOf(key), this.#chunks.length - 1);
    let end = key === undefined ? Infinity : lowerBound(this.#chunks[c] ?? [], key);
    for (; c >= 0 && out.length < limit; c--, end = Infinity) {
      const chunk = this.#chunks[c]!;
      for (let i = Math.min(end, chunk.length) - 1; i >= 0 && out.length < limit; i--) out.push(chunk[i]!);
    }
    return out;
  }

  /** Index of the first chunk whose last key is not less than `key`. */
  #chunkOf(key: string): number {
    let lo = 0;
    let hi = this.#chunks.length;
    while (lo < hi) {
      const mid = (lo + hi) >>> 1;
      if (this.#chunks[mid]!.at(-1)! < key) lo = mid + 1;
      else hi = mid;
    }
    return lo;
  }
}

function isSorted(keys: readonly string[]): boolean {
  for (let i = 1; i < keys.length; i++) if (keys[i - 1]! > keys[i]!) return false;
  return true;
}

function lowerBound(sorted: readonly string[], key: string): number {
  let lo = 0;
  let hi = sorted.length;
  while (lo < hi) {
    const mid = (lo + hi) >>> 1;
    if (sorted[mid]! < key) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

function upperBound(sorted: readonly string[], key: string): number {
  const i = lowerBound(sorted, key);
  return sorted[i] === key ? i + 1 : i;
}
