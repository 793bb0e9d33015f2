/**
 * A libvirt stream as a Node Duplex, on a connection of its own: a reader that is slow stops the socket and so the
 * sender, without delaying anybody else. Ending the writable side finishes the stream in order; destroying it aborts.
 */
import { Duplex } from 'node:stream';
import type { Connection, StreamSink } from './connection.ts';
import { MAX_STREAM_CHUNK_BYTES, STATUS } from './frame.ts';
import type { Procedure } from './procedures.ts';

/** How long libvirt may take to confirm an abort before the connection is cut instead. */
const ABORT_DEADLINE_MS = 2_000;

/** A stream on which zeros can be told of instead. */
export interface SparseStream extends Duplex {
  hole(bytes: number): Promise<void>;
}

type Done = (e?: Error | null) => void;

class RpcStream extends Duplex implements StreamSink, SparseStream {
  #serial: number | undefined;
  #finishing = false;
  /** The server is done with this stream: confirmed, or failed. */
  #over = false;
  /** The call that began it is answered. */
  #opened = false;
  #onConfirm: Done | undefined;

  constructor(readonly connection: Connection) {
    super({ allowHalfOpen: true });
  }

  onSerial(serial: number): void {
    this.#serial = serial;
  }

  onData(data: Buffer): void {
    if (!this.destroyed && !this.push(data) && !this.#finishing) this.connection.socket.pause();
  }

  onEnd(): void {
    this.push(null);
    this.#finish();
    if (!this.writableEnded) this.end();
  }

  onConfirmed(): void {
    this.#over = true;
    this.push(null);
    this.#onConfirm?.();
    if (this.#opened) this.connection.close('the stream ended');
  }

  /** libvirt sends from another thread than it answers from: a short stream may have ended before. */
  onOpened(): void {
    this.#opened = true;
    if (this.#over) this.connection.close('the stream ended');
  }

  onFailed(e: Error): void {
    this.#over = true;
    this.#onConfirm?.(e);
    this.destroy(e);
  }

  override _read(): void {
    this.connection.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#sendFrom(chunk, 0, done);
  }

  /** Zeros, on a stream that was opened as sparse. In order with what is written: nothing may be under way. */
  hole(bytes: number): Promise<void> {
    return new Promise((resolve, reject) =>
      this.connection.sendHole(this.#serial ?? 0, bytes, (e) => (e ? reject(e) : resolve())),
    );
  }

  /** One packet after the other, each when the kernel took the one before. */
  #sendFrom(chunk: Buffer, at: number, done: Done): void {
    const piece = chunk.subarray(at, at + MAX_STREAM_CHUNK_BYTES);
    const next = at + piece.length;
    this.connection.sendStream(this.#serial ?? 0, STATUS.more, piece, (e) => {
      if (e || next >= chunk.length) done(e);
      else this.#sendFrom(chunk, next, done);
    });
  }

  override _final(done: Done): void {
    if (this.#over) return done();
    this.#onConfirm = done;
    this.#finish();
    this.connection.socket.resume(); // or the confirmation would wait behind data that nobody reads
  }

  /** "No more from us": libvirt answers when it has written everything. */
  #finish(): void {
    if (this.#finishing) return;
    this.#finishing = true;
    this.connection.sendStream(this.#serial ?? 0, STATUS.ok, undefined);
  }

  override _destroy(error: Error | null, done: (e: Error | null) => void): void {
    const closed = (): void => {
      timer.cancel();
      this.connection.close('the stream was closed');
      done(error);
    };
    const timer = this.connection.opts.clock.after(ABORT_DEADLINE_MS, closed);
    if (this.#over || this.connection.closedWhy !== undefined || this.#serial === undefined) return closed();
    this.#onConfirm = closed;
    this.connection.socket.resume();
    this.connection.sendStream(this.#serial, STATUS.error, undefined);
  }
}

/** Opens a stream on `connection`, which belongs to it from then on and is closed with it, also when opening fails. */
export async function openStream<A, R>(
  connection: Connection,
  procedure: Procedure<A, R>,
  args: A,
  what: string,
): Promise<SparseStream> {
  const stream = new RpcStream(connection);
  // Whoever reads it hears of it. While it opens nobody does, nor when they have left: that must not end the agent.
  stream.on('error', () => undefined);
  try {
    await connection.openStream(procedure, args, what, stream);
    stream.onOpened();
    return stream;
  } catch (e) {
    connection.close('the stream could not be opened');
    throw e;
  }
}
