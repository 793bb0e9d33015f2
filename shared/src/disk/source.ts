/**
 * What the parsers read from: a file of known size, through a reader that gives them no more than they may have. A stranger
 * wrote the bytes, so every read is checked against the file's end and against a budget for the whole inspection.
 */
import { ClusterError, type ErrorMeta } from '../errors/cluster-error.ts';

export interface DiskSource {
  /** How people know the file; it opens every message. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Exactly `length` bytes, or fewer where the file ends. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** All that one inspection reads, and the largest single read. */
export const MAX_INSPECT_BYTES = 256 * 2 ** 20;
export const MAX_READ_BYTES = 2 * 2 ** 20;

export class BoundedReader {
  #left = MAX_INSPECT_BYTES;

  constructor(readonly source: DiskSource) {}

  get bytesLeft(): number {
    return this.#left;
  }

  /** Exactly `length` bytes. What lies beyond the end of the file makes the image truncated, as `what` says. */
  async read(offset: number, length: number, what: string): Promise<Buffer> {
    if (!this.holds(offset, length)) throw truncated(this.source, what);
    if (length > MAX_READ_BYTES || length > this.#left)
      throw unsafe(this.source, `has a ${what} too large to be checked`);
    this.#left -= length;
    const bytes = await this.source.read(offset, length);
    if (bytes.length !== length) throw truncated(this.source, what);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** As many of `length` bytes as there are. */
  async peek(offset: number, length: number): Promise<Buffer> {
    const there = Math.max(0, Math.min(length, this.source.sizeBytes - offset));
    return there === 0 ? Buffer.alloc(0) : this.read(offset, there, 'header');
  }

  holds(offset: number, length: number): boolean {
    return offset >= 0 && offset + length <= this.source.sizeBytes;
  }
}

/** `subject` in the details lets whoever knows the file's real name put it in. */
export const unsafe = (source: DiskSource, text: string, meta: ErrorMeta = {}): ClusterError =>
  new ClusterError('UNSAFE_IMAGE', `${source.name} ${text}`, { subject: source.name, ...meta });

export const truncated = (source: DiskSource, what: string): ClusterError =>
  unsafe(
    source,
    `is truncated: its ${what} lies beyond the end of the file (${source.sizeBytes} bytes). Copy it again, whole.`,
    { problem: 'truncated' },
  );

/** A stranger's text, made safe for a terminal and a log. */
export const printable = (bytes: Uint8Array): string =>
  Buffer.from(bytes.subarray(0, 200))
    .toString('utf8')
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\ufffd]/gu, '?');
