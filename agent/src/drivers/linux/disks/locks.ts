/** One at a time per key, in order of asking; in memory, within this process. */

export class KeyedQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /** Runs `fn` when everything asked for earlier under this key has ended. */
  async run<T>(key: string, fn: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const work = before.then(fn);
    const tail = work.then(
      () => undefined,
      () => undefined,
    );
    this.#tails.set(key, tail);
    try {
      return await work;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    }
  }
}
