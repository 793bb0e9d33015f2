/** Reads NBD replies and hands each to the request that waits for it. Any breach of the protocol is an Error, which ends the connection. */
import type { ByteQueue } from './byte-queue.ts';
import { printable } from './nbd-negotiate.ts';
import * as wire from './nbd-wire.ts';
import type { NbdExtent } from './nbd-wire.ts';

interface WantedRead {
  readonly kind: 'read';
  readonly offset: number;
  readonly data: Buffer;
  filled: number;
}
interface WantedStatus {
  readonly kind: 'status';
  readonly offset: number;
  readonly length: number;
  readonly extents: NbdExtent[];
}

/** Of requests whose answer is only that it is done. */
interface WantedNothing {
  readonly kind: 'nothing';
}

/** The server answered, and the answer was an error; the connection goes on. */
export class NbdRefusal extends Error {
  constructor(
    readonly code: number,
    details = '',
  ) {
    super((wire.ERRNO[code] ?? `error ${code}`) + (details ? `: ${details}` : ''));
  }
}

export interface Pending {
  readonly wanted: WantedRead | WantedStatus | WantedNothing;
  resolve(): void;
  reject(e: Error): void;
}

interface Waiting extends Pending {
  error?: Error;
}

const MAX_ERROR_BYTES = 4_096;
/** As many extents as qemu-nbd ever sends at once, and the context id. */
const MAX_STATUS_REPLY_BYTES = 2 ** 20 + 4;

export class NbdReplies {
  readonly #pending = new Map<bigint, Waiting>();

  constructor(private readonly queue: ByteQueue) {}

  expect(cookie: bigint, pending: Pending): void {
    this.#pending.set(cookie, pending);
  }

  failAll(e: Error): void {
    for (const p of this.#pending.values()) p.reject(e);
    this.#pending.clear();
  }

  /** Runs until the connection ends, by an Error. */
  async run(): Promise<never> {
    for (;;) {
      const magic = (await this.queue.read(4)).readUInt32BE(0);
      if (magic === wire.SIMPLE_REPLY_MAGIC) await this.#simple();
      else if (magic === wire.STRUCTURED_REPLY_MAGIC) await this.#structured();
      else throw new Error('the NBD server answers with garbage');
    }
  }

  #find(cookie: bigint): Waiting {
    const p = this.#pending.get(cookie);
    if (!p) throw new Error('the NBD server answers what nobody asked');
    return p;
  }

  async #simple(): Promise<void> {
    const head = await this.queue.read(12);
    const cookie = head.readBigUInt64BE(4);
    const p = this.#find(cookie);
    const code = head.readUInt32BE(0);
    if (code !== 0) p.error = new NbdRefusal(code);
    else if (p.wanted.kind === 'read') {
      await this.queue.readInto(p.wanted.data);
      p.wanted.filled = p.wanted.data.length;
    }
    this.#end(cookie, p);
  }

  async #structured(): Promise<void> {
    const head = await this.queue.read(16);
    const type = head.readUInt16BE(2);
    const cookie = head.readBigUInt64BE(4);
    const length = head.readUInt32BE(12);
    const p = this.#find(cookie);
    if (type >= wire.CHUNK_IS_ERROR) p.error ??= await this.#errorChunk(length);
    else if (type === wire.CHUNK_NONE && length === 0) void 0;
    else if (type === wire.CHUNK_OFFSET_DATA && p.wanted.kind === 'read') await this.#data(p.wanted, length);
    else if (type === wire.CHUNK_OFFSET_HOLE && p.wanted.kind === 'read') await this.#hole(p.wanted, length);
    else if (type === wire.CHUNK_BLOCK_STATUS && p.wanted.kind === 'status') await this.#status(p.wanted, length);
    else throw new Error(`the NBD server sends a chunk of type ${type} that does not fit the request`);
    if ((head.readUInt16BE(0) & wire.REPLY_DONE) !== 0) this.#end(cookie, p);
  }

  /** Complete or an error: a server that leaves bytes out has lied. */
  #end(cookie: bigint, p: Waiting): void {
    if (!p.error && !isWhole(p.wanted)) throw new Error('the NBD server ends an answer that is not complete');
    this.#pending.delete(cookie);
    if (p.error) p.reject(p.error);
    else p.resolve();
  }

  async #errorChunk(length: number): Promise<Error> {
    if (length < 6 || length > MAX_ERROR_BYTES) throw new Error('the NBD server sends a malformed error');
    const body = await this.queue.read(length);
    const text = printable(body.subarray(6, 6 + body.readUInt16BE(4)));
    return new NbdRefusal(body.readUInt32BE(0), text);
  }

  async #data(wanted: WantedRead, length: number): Promise<void> {
    const at = await this.#place(wanted, length, length - 8);
    await this.queue.readInto(wanted.data.subarray(at, at + length - 8));
    wanted.filled += length - 8;
  }

  async #hole(wanted: WantedRead, length: number): Promise<void> {
    if (length !== 12) throw new Error('the NBD server sends a malformed hole');
    const at = await this.#place(wanted, length);
    const size = (await this.queue.read(4)).readUInt32BE(0);
    if (at + size > wanted.data.length) throw new Error('the NBD server sends bytes outside the request');
    wanted.data.fill(0, at, at + size);
    wanted.filled += size;
  }

  /** Where a chunk's offset lies in the request. */
  async #place(wanted: WantedRead, length: number, size = 0): Promise<number> {
    if (length < 9) throw new Error('the NBD server sends an empty chunk');
    const at = Number((await this.queue.read(8)).readBigUInt64BE(0)) - wanted.offset;
    if (at < 0 || at + size > wanted.data.length) throw new Error('the NBD server sends bytes outside the request');
    return at;
  }

  async #status(wanted: WantedStatus, length: number): Promise<void> {
    if (length < 12 || (length - 4) % 8 !== 0 || length > MAX_STATUS_REPLY_BYTES || wanted.extents.length > 0)
      throw new Error('the NBD server sends a malformed block status');
    const body = await this.queue.read(length);
    let offset = wanted.offset;
    const end = wanted.offset + wanted.length;
    for (let i = 4; i < length && offset < end; i += 8) {
      // the last extent may reach beyond what was asked
      const size = Math.min(body.readUInt32BE(i), end - offset);
      if (size === 0) throw new Error('the NBD server sends an empty extent');
      wanted.extents.push({ offset, length: size, zero: (body.readUInt32BE(i + 4) & wire.STATE_ZERO) !== 0 });
      offset += size;
    }
  }
}

function isWhole(wanted: Pending['wanted']): boolean {
  if (wanted.kind === 'read') return wanted.filled === wanted.data.length;
  return wanted.kind === 'nothing' || wanted.extents.length > 0;
}
