/** Turns a socket's chunks into "give me exactly n bytes". One reader at a time. Knows no protocol. */

export class ByteQueue {
  #chunks: Buffer[] = [];
  #size = 0;
  #waiting: (() => void) | undefined;
  #failure: Error | undefined;

  get size(): number {
    return this.#size;
  }

  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    this.#wake();
  }

  /** From now on reads fail once what has arrived is used up. */
  fail(e: Error): void {
    this.#failure ??= e;
    this.#wake();
  }

  /** A copy of the next `length` bytes. */
  async read(length: number): Promise<Buffer> {
    const out = Buffer.allocUnsafe(length);
    await this.readInto(out);
    return out;
  }

  async readInto(target: Uint8Array): Promise<void> {
    let done = 0;
    while (done < target.length) {
      const first = this.#chunks[0];
      if (!first) {
        if (this.#failure) throw this.#failure;
        await new Promise<void>((resolve) => (this.#waiting = resolve));
        continue;
      }
      const n = Math.min(first.length, target.length - done);
      target.set(n === first.length ? first : first.subarray(0, n), done);
      if (n === first.length) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(n);
      this.#size -= n;
      done += n;
    }
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.();
  }
}
