/**
 * One open socket to libvirtd: calls matched to replies by serial, events, keepalive both ways, streams by serial.
 * When it dies, everything that waits on it is rejected, and it stays dead; who dials again is not decided here.
 */
import type { Socket } from 'node:net';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { currentSpan, traced } from '@berth/shared/trace/trace.ts';
import { fromRemote, neverSent, outcomeUnknown } from './errors.ts';
import { encodeMessage, FrameReader, KEEPALIVE, PROGRAM, STATUS, TYPE } from './frame.ts';
import type { Message } from './frame.ts';
import type { Procedure } from './procedures.ts';
import { remoteError } from './types.ts';
import { decode, encode } from './xdr.ts';

interface Waiting {
  readonly what: string;
  resolve(payload: Buffer): void;
  reject(e: Error): void;
}

/** What a stream hears; stream.ts implements it. */
export interface StreamSink {
  /** The serial to send with; told before anything else can arrive. */
  onSerial(serial: number): void;
  onData(data: Buffer): void;
  /** The server has no more data; it waits for our finish. */
  onEnd(): void;
  /** The server confirmed our finish or abort. */
  onConfirmed(): void;
  onFailed(e: Error): void;
}

export interface ConnectionOptions {
  readonly clock: Clock;
  /** We ping when nothing came for this long, and cut the connection after `pingCount` unanswered ones. 0: we never do. */
  readonly pingIntervalMs?: number;
  readonly pingCount?: number;
  /** Events of the remote program: procedure number and payload. */
  readonly onEvent?: (procedure: number, payload: Buffer) => void;
  /** Told of each call when it has ended. @param ms how long it took */
  readonly onCall?: (procedure: string, ms: number, error?: unknown) => void;
}

const wordsOf = (e: unknown): string => (e instanceof Error ? e.message : String(e));

/** What the wire format can't carry (too long, a NUL, a malformed UUID) is the caller's mistake, found before sending. */
function encodeArgs<A, R>(procedure: Procedure<A, R>, args: A, what: string): Buffer {
  try {
    return encode(procedure.args, args);
  } catch (e) {
    throw invalidArgument(`libvirt cannot be asked to ${what}: ${wordsOf(e)}`);
  }
}

export class Connection {
  readonly #waiting = new Map<number, Waiting>();
  readonly #streams = new Map<
    number,
    { readonly sink: StreamSink; readonly procedure: number; readonly what: string }
  >();
  readonly #closeListeners = new Set<(why: string) => void>();
  readonly #reader = new FrameReader();
  #serial = 0;
  #closedWhy: string | undefined;
  #heard = true;
  #unanswered = 0;
  #timer: Timer | undefined;

  constructor(
    readonly socket: Socket,
    readonly opts: ConnectionOptions,
  ) {
    socket.on('data', (chunk: Buffer) => this.#onChunk(chunk));
    socket.on('error', (e) => this.close(e.message));
    socket.on('close', () => this.close('libvirt closed the connection'));
    this.#schedulePing();
  }

  /** Why the connection is dead, or undefined while it lives. */
  get closedWhy(): string | undefined {
    return this.#closedWhy;
  }

  onClose(listener: (why: string) => void): void {
    if (this.#closedWhy === undefined) this.#closeListeners.add(listener);
    else listener(this.#closedWhy);
  }

  /** Sends one call and waits for its reply, however long that takes. @param what for errors: "start domain web". */
  async call<A, R>(procedure: Procedure<A, R>, args: A, what: string): Promise<R> {
    const payload = encodeArgs(procedure, args, what);
    const ask = (): Promise<Buffer> => this.#exchange(this.#nextSerial(), procedure, payload, what);
    const reply = await (currentSpan() === undefined
      ? ask()
      : traced({ name: `libvirt ${procedure.name}`, kind: 'client' }, ask));
    try {
      return decode(procedure.result, reply);
    } catch (e) {
      throw outcomeUnknown(what, `the reply to ${procedure.name} makes no sense (${wordsOf(e)})`);
    }
  }

  /** A call that opens a stream: `sink` hears what follows the reply, which may come in the same chunk. */
  async openStream<A, R>(procedure: Procedure<A, R>, args: A, what: string, sink: StreamSink): Promise<void> {
    const payload = encodeArgs(procedure, args, what);
    const serial = this.#nextSerial();
    this.#streams.set(serial, { sink, procedure: procedure.number, what });
    sink.onSerial(serial);
    try {
      await this.#exchange(serial, procedure, payload, what);
    } catch (e) {
      this.#streams.delete(serial);
      throw e;
    }
  }

  /** Sends one stream packet. `done` is called when the kernel has taken it. */
  sendStream(serial: number, status: number, data: Uint8Array | undefined, done?: (e?: Error | null) => void): void {
    const stream = this.#streams.get(serial);
    if (stream === undefined || this.#closedWhy !== undefined) {
      done?.(neverSent('send stream data', this.#closedWhy ?? 'the stream is closed'));
      return;
    }
    const header = { program: PROGRAM.remote, procedure: stream.procedure, type: TYPE.stream, serial, status };
    this.socket.write(encodeMessage(header, data), done);
  }

  /** Tells of zeros on a sparse stream instead of sending them. */
  sendHole(serial: number, bytes: number, done: (e?: Error | null) => void): void {
    const stream = this.#streams.get(serial);
    if (stream === undefined || this.#closedWhy !== undefined)
      return done(neverSent('send stream data', this.#closedWhy ?? 'the stream is closed'));
    const payload = Buffer.alloc(12);
    payload.writeBigInt64BE(BigInt(bytes));
    const header = { program: PROGRAM.remote, procedure: stream.procedure, type: TYPE.streamHole, serial };
    this.socket.write(encodeMessage({ ...header, status: STATUS.more }, payload), done);
  }

  close(why: string): void {
    if (this.#closedWhy !== undefined) return;
    this.#closedWhy = why;
    this.#timer?.cancel();
    this.socket.destroy();
    for (const w of this.#waiting.values()) w.reject(outcomeUnknown(w.what, why));
    for (const s of this.#streams.values()) s.sink.onFailed(outcomeUnknown(s.what, why));
    this.#waiting.clear();
    this.#streams.clear();
    for (const listener of this.#closeListeners) listener(why);
  }

  #nextSerial(): number {
    this.#serial = this.#serial === 0xffff_ffff ? 1 : this.#serial + 1;
    return this.#serial;
  }

  #exchange(
    serial: number,
    { name, number, program = PROGRAM.remote }: Pick<Procedure<never, never>, 'name' | 'number' | 'program'>,
    payload: Buffer,
    what: string,
  ): Promise<Buffer> {
    if (this.#closedWhy !== undefined) return Promise.reject(neverSent(what, this.#closedWhy));
    return new Promise((onReply, onError) => {
      const { resolve, reject } = this.#told(name, onReply, onError);
      this.#waiting.set(serial, { what, resolve, reject });
      const header = { program, procedure: number, type: TYPE.call, serial, status: STATUS.ok };
      this.socket.write(encodeMessage(header, payload));
    });
  }

  /** The same, with somebody told of it. */
  #told(
    procedure: string,
    resolve: Waiting['resolve'],
    reject: Waiting['reject'],
  ): Pick<Waiting, 'resolve' | 'reject'> {
    const { onCall, clock } = this.opts;
    if (onCall === undefined) return { resolve, reject };
    const began = clock.monotonic();
    return {
      resolve(payload) {
        onCall(procedure, clock.monotonic() - began);
        resolve(payload);
      },
      reject(e) {
        onCall(procedure, clock.monotonic() - began, e);
        reject(e);
      },
    };
  }

  #onChunk(chunk: Buffer): void {
    this.#heard = true;
    try {
      this.#reader.push(chunk, (m) => this.#onMessage(m));
    } catch (e) {
      this.close(`libvirt sent what is not its protocol (${wordsOf(e)})`);
    }
  }

  #onMessage(m: Message): void {
    if (this.#closedWhy !== undefined) return;
    if (m.program === PROGRAM.keepalive) this.#onKeepalive(m);
    else if (m.program !== PROGRAM.remote && !(m.program === PROGRAM.qemu && m.type === TYPE.reply)) return;
    else if (m.type === TYPE.message) this.opts.onEvent?.(m.procedure, m.payload);
    else if (m.type === TYPE.reply && this.#waiting.has(m.serial)) this.#onReply(m);
    else if (m.type === TYPE.reply || m.type === TYPE.stream) this.#onStream(m);
  }

  #onReply(m: Message): void {
    const w = this.#waiting.get(m.serial);
    // A malformed error throws here and closes the connection, which rejects the call: it is still in the table.
    const error = m.status === STATUS.ok ? undefined : fromRemote(decode(remoteError, m.payload), w?.what ?? '');
    this.#waiting.delete(m.serial);
    if (error === undefined) w?.resolve(m.payload);
    else w?.reject(error);
  }

  #onStream(m: Message): void {
    const stream = this.#streams.get(m.serial);
    if (stream === undefined) return; // the reply of a call given up on, or data of an aborted stream
    if (m.status === STATUS.more && m.payload.length > 0) return stream.sink.onData(m.payload);
    if (m.status === STATUS.more) return stream.sink.onEnd();
    const error = m.status === STATUS.ok ? undefined : fromRemote(decode(remoteError, m.payload), stream.what);
    this.#streams.delete(m.serial);
    if (error === undefined) stream.sink.onConfirmed();
    else stream.sink.onFailed(error);
  }

  #onKeepalive(m: Message): void {
    if (m.procedure === KEEPALIVE.ping) this.#sendKeepalive(KEEPALIVE.pong);
  }

  #sendKeepalive(procedure: number): void {
    const header = { program: PROGRAM.keepalive, procedure, type: TYPE.message, serial: 0, status: STATUS.ok };
    this.socket.write(encodeMessage(header));
  }

  #schedulePing(): void {
    const { clock, pingIntervalMs = 5_000 } = this.opts;
    if (pingIntervalMs > 0) this.#timer = clock.after(pingIntervalMs, () => this.#tick());
  }

  #tick(): void {
    if (this.#closedWhy !== undefined) return;
    // A paused socket belongs to a stream whose reader is slow: that is our silence, not libvirt's.
    const alive = this.#heard || this.socket.isPaused();
    if (!alive && this.#unanswered >= (this.opts.pingCount ?? 5)) return this.close('libvirt stopped answering');
    this.#heard = false;
    this.#unanswered = alive ? 0 : this.#unanswered + 1;
    if (!alive) this.#sendKeepalive(KEEPALIVE.ping);
    this.#schedulePing();
  }
}
