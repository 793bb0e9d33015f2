/** Takes a stream of chunks apart by counts of bytes. Knows nothing of what they mean. */
import { badState } from '@berth/shared/errors/cluster-error.ts';

export class ByteReader {
  private readonly chunks: AsyncIterator<Uint8Array>;
  private rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.chunks = chunks[Symbol.asyncIterator]();
  }

  /** BAD_STATE when the stream ends before. */
  async exactly(bytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    for await (const part of this.some(bytes)) parts.push(part);
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** At most so many; fewer only at the end of the stream. */
  async upTo(bytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let left = bytes;
    while (left > 0 && (await this.fill())) {
      const part = this.take(left);
      left -= part.length;
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  /** As they come. BAD_STATE when the stream ends before. */
  async *some(bytes: number): AsyncGenerator<Uint8Array> {
    for (let left = bytes; left > 0;) {
      if (!(await this.fill())) throw badState('it ends too early: it is not whole');
      const part = this.take(left);
      left -= part.length;
      yield part;
    }
  }

  async atEnd(): Promise<boolean> {
    return !(await this.fill());
  }

  private take(most: number): Uint8Array {
    const part = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(part.length);
    return part;
  }

  private async fill(): Promise<boolean> {
    while (this.rest.length === 0) {
      const next = await this.chunks.next();
      if (next.done) return false;
      this.rest = next.value;
    }
    return true;
  }
}
