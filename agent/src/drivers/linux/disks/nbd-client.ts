/**
 * An NBD client over a UNIX socket, for computing digests of disks and filling copies of them. Trusts the server with nothing:
 * what breaks the protocol ends the connection with a ClusterError, and every request has a deadline, so nothing hangs. TLS and
 * TCP are the tunnel's.
 */
import { connect, type OnReadOpts, type Socket } from 'node:net';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { ByteQueue } from './byte-queue.ts';
import { negotiate } from './nbd-negotiate.ts';
import { NbdRefusal, NbdReplies, type Pending } from './nbd-replies.ts';
import * as wire from './nbd-wire.ts';
import type { NbdExtent } from './nbd-wire.ts';

export interface NbdOptions {
  readonly socketPath: string;
  readonly exportName: string;
  readonly clock: Clock;
  /** For each answer, the greeting included; default 60 s. */
  readonly timeoutMs?: number;
  /** Reason of the error when the server fails or lies; default INTERNAL (our own helper). */
  readonly reason?: Reason;
  readonly signal?: AbortSignal;
}

export interface NbdClient {
  readonly sizeBytes: number;
  /** At most 32 MiB at once; many may be under way. */
  read(offset: number, length: number): Promise<Buffer>;
  /** The same, as many bytes as `target` has; of a read that failed it may hold a part. */
  readInto(target: Buffer, offset: number): Promise<void>;
  /** Covers at least one byte from `offset`, at most `length`; ask again for the rest. All data when the server can't tell. */
  blockStatus(offset: number, length: number): Promise<readonly NbdExtent[]>;
  /** Has the server read it once, at most 32 MiB, so that it lies in its copy. Nothing is sent. */
  cache(offset: number, length: number): Promise<void>;
  /** At most 32 MiB at once. DISK_FULL */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** What was cached, or written, is on the server's disk. */
  flush(): Promise<void>;
  /** The connection is over; while it isn't, a request that failed may be repeated. */
  readonly ended: boolean;
  /** Says goodbye; requests under way fail. */
  close(): void;
}

/** Of the disk, and what is written there. */
interface Part {
  readonly offset: number;
  readonly length: number;
  readonly data?: Uint8Array;
}

export const MAX_READ_BYTES = 32 * 2 ** 20;
const MAX_STATUS_BYTES = 2 ** 30;
/** One for the whole connection: a new one for each arrival would have the garbage collector run all the time. */
const SOCKET_BYTES = 128 * 1024;
const DEFAULT_TIMEOUT_MS = 60_000;
/** How long a server may take to read our goodbye. */
const GOODBYE_MS = 1_000;

/** Connects and negotiates. @throws ClusterError of the given reason, DEADLINE_EXCEEDED or CANCELLED */
export async function connectNbd(options: NbdOptions): Promise<NbdClient> {
  const connection = new Connection(options);
  await connection.open();
  return connection;
}

class Connection implements NbdClient {
  sizeBytes = 0;
  #hasStatus = false;
  #cookie = 0n;
  #failure: ClusterError | undefined;
  readonly #queue = new ByteQueue();
  readonly #replies: NbdReplies;
  readonly #socket: Socket;
  readonly #timeoutMs: number;

  constructor(private readonly options: NbdOptions) {
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#replies = new NbdReplies(this.#queue);
    this.#socket = connect({ path: options.socketPath, onread: this.#intoQueue() });
    this.#socket.on('error', (e) => this.#fail(this.#error(`the connection broke (${e.message})`)));
    this.#socket.on('close', () => this.#fail(this.#error('the server closed the connection')));
    const { signal } = options;
    if (signal?.aborted) this.#fail(cancelled(options));
    const onAbort = (): unknown => this.#fail(cancelled(options));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#socket.on('close', () => signal?.removeEventListener('abort', onAbort));
  }

  async open(): Promise<void> {
    const timer = this.#deadline('greeting');
    try {
      const agreed = await negotiate(this.#queue, (bytes) => this.#socket.write(bytes), this.options.exportName);
      this.sizeBytes = agreed.sizeBytes;
      this.#hasStatus = agreed.blockStatus;
    } catch (e) {
      throw this.#fail(this.#failure ?? this.#error((e as Error).message));
    } finally {
      timer.cancel();
    }
    void this.#replies.run().catch((e: Error) => this.#fail(this.#error(e.message)));
  }

  async read(offset: number, length: number): Promise<Buffer> {
    this.#check(offset, length, MAX_READ_BYTES);
    const data = Buffer.allocUnsafe(length);
    await this.readInto(data, offset);
    return data;
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    const { length } = target;
    this.#check(offset, length, MAX_READ_BYTES);
    await this.#request(wire.CMD_READ, { offset, length }, { kind: 'read', offset, data: target, filled: 0 });
  }

  async blockStatus(offset: number, length: number): Promise<readonly NbdExtent[]> {
    const wanted = Math.min(length, MAX_STATUS_BYTES);
    this.#check(offset, wanted, MAX_STATUS_BYTES);
    if (!this.#hasStatus) return [{ offset, length: wanted, zero: false }];
    const extents: NbdExtent[] = [];
    await this.#request(
      wire.CMD_BLOCK_STATUS,
      { offset, length: wanted },
      { kind: 'status', offset, length: wanted, extents },
    );
    return extents;
  }

  async cache(offset: number, length: number): Promise<void> {
    this.#check(offset, length, MAX_READ_BYTES);
    await this.#request(wire.CMD_CACHE, { offset, length }, { kind: 'nothing' });
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.#check(offset, data.length, MAX_READ_BYTES);
    await this.#request(wire.CMD_WRITE, { offset, length: data.length, data }, { kind: 'nothing' });
  }

  flush(): Promise<void> {
    return this.#request(wire.CMD_FLUSH, { offset: 0, length: 0 }, { kind: 'nothing' });
  }

  get ended(): boolean {
    return this.#failure !== undefined;
  }

  close(): void {
    if (this.#failure) return;
    this.#socket.write(wire.encodeRequest(wire.CMD_DISC, 0n, 0, 0));
    const timer = this.options.clock.after(GOODBYE_MS, () => this.#socket.destroy());
    this.#socket.once('close', () => timer.cancel());
    this.#socket.destroySoon();
    this.#fail(this.#error('the client closed the connection'), true);
  }

  #intoQueue(): OnReadOpts {
    const buffer = Buffer.allocUnsafeSlow(SOCKET_BYTES);
    const callback = (bytes: number): boolean => {
      this.#queue.take(buffer.subarray(0, bytes));
      return true;
    };
    return { buffer, callback };
  }

  #check(offset: number, length: number, max: number): void {
    if (length <= 0 || length > max || offset < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`cannot reach ${length} bytes at ${offset} of ${this.sizeBytes}`);
  }

  async #request(command: number, { offset, length, data }: Part, wanted: Pending['wanted']): Promise<void> {
    if (this.#failure) throw this.#failure;
    const cookie = ++this.#cookie;
    const timer = this.#deadline(`answer to a request for ${length} bytes at ${offset}`);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#replies.expect(cookie, {
          wanted,
          resolve,
          reject: (e) => reject(this.#failure ?? this.#refusal(e)),
        });
        this.#socket.write(wire.encodeRequest(command, cookie, offset, length));
        if (data) this.#socket.write(data);
      });
    } finally {
      timer.cancel();
    }
  }

  /** A server that is late once is not waited for again: the whole connection ends. */
  #deadline(what: string): Timer {
    const seconds = this.#timeoutMs / 1_000;
    return this.options.clock.after(this.#timeoutMs, () => {
      this.#fail(new ClusterError('DEADLINE_EXCEEDED', `${label(this.options)}: no ${what} within ${seconds} s`));
    });
  }

  #refusal(e: Error): ClusterError {
    if (!(e instanceof NbdRefusal) || e.code !== wire.ENOSPC) return this.#error(e.message);
    return new ClusterError('DISK_FULL', `${label(this.options)}: ${e.message}`);
  }

  #error(text: string): ClusterError {
    return new ClusterError(this.options.reason ?? 'INTERNAL', `${label(this.options)}: ${text}`);
  }

  #fail(e: ClusterError, orderly = false): ClusterError {
    if (this.#failure) return this.#failure;
    this.#failure = e;
    this.#queue.fail(e);
    this.#replies.failAll(e);
    if (!orderly) this.#socket.destroy();
    return e;
  }
}

const label = (o: NbdOptions): string => `NBD export ${JSON.stringify(o.exportName)} at ${o.socketPath}`;
const cancelled = (o: NbdOptions): ClusterError => new ClusterError('CANCELLED', `${label(o)}: cancelled`);
