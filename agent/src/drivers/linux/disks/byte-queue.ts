/** Turns a socket's chunks into "give me exactly n bytes". One reader at a time. Knows no protocol. */

interface Reading {
  readonly target: Uint8Array;
  done: number;
  wake(): void;
}

export class ByteQueue {
  #chunks: Uint8Array[] = [];
  #size = 0;
  #reading: Reading | undefined;
  #failure: Error | undefined;

  get size(): number {
    return this.#size;
  }

  /** Keeps the chunk, if need be. */
  push(chunk: Uint8Array): void {
    const rest = this.#feed(chunk);
    if (rest.length > 0) this.#keep(rest);
  }

  /** The same of a chunk that the caller goes on to use: what nobody waits for is copied. */
  take(chunk: Uint8Array): void {
    const rest = this.#feed(chunk);
    if (rest.length > 0) this.#keep(new Uint8Array(rest));
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
    for (let first = this.#chunks[0]; first && done < target.length; first = this.#chunks[0]) {
      const n = fill(target, done, first);
      if (n === first.length) this.#chunks.shift();
      else this.#chunks[0] = first.subarray(n);
      this.#size -= n;
      done += n;
    }
    if (done === target.length) return;
    if (this.#failure) throw this.#failure;
    const reading: Reading = { target, done, wake: () => undefined };
    await new Promise<void>((resolve) => (this.#reading = Object.assign(reading, { wake: resolve })));
    if (reading.done < target.length) throw this.#failure!;
  }

  #keep(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
  }

  /** What whoever waits does not need of it. */
  #feed(chunk: Uint8Array): Uint8Array {
    const reading = this.#reading;
    if (!reading) return chunk;
    const n = fill(reading.target, reading.done, chunk);
    reading.done += n;
    if (reading.done === reading.target.length) this.#wake();
    return chunk.subarray(n);
  }

  #wake(): void {
    const reading = this.#reading;
    this.#reading = undefined;
    reading?.wake();
  }
}

/** How many bytes it took of the source. */
function fill(target: Uint8Array, at: number, source: Uint8Array): number {
  const n = Math.min(source.length, target.length - at);
  target.set(n === source.length ? source : source.subarray(0, n), at);
  return n;
}
