/**
 * What comes over a connection, in blocks of memory that are used again: a new buffer for each arrival would have the
 * garbage collector run all the time, which costs more than all else when an image passes through. A part of a block is
 * written over only after whoever it was given to has let go of it; who keeps too much stops the socket from being read.
 */
import type { OnReadOpts, Socket } from 'node:net';

export interface InflowTaker {
  /** @param done lets go of the bytes: they may be written over from then on */
  give(bytes: Buffer, done: () => void): void;
  /** Before they are given. */
  onBytes(bytes: number): void;
}

interface Block {
  readonly bytes: Buffer;
  /** Parts of it that somebody has. */
  parts: number;
  /** Nothing more comes into it. */
  full: boolean;
}

interface Part {
  readonly block: Block;
  readonly bytes: Buffer;
}

const BLOCK_BYTES = 128 * 1024;
/** Of TLS one record comes at a time. With less room than that a block is full. */
const LEAST_BYTES = 16 * 1024;
/** Given away or waiting. TLS goes on giving what it has decrypted already, so it can be a little more. */
const MOST_HELD_BYTES = 2 * BLOCK_BYTES;

export class Inflow {
  /** For the socket's `connect`. */
  readonly onread: OnReadOpts = { buffer: () => this.room(), callback: (bytes) => this.take(bytes) };
  private block: Block = newBlock();
  /** So far it is filled, and from there on nobody has been given anything yet. */
  private filled = 0;
  private given = 0;
  private readonly idle: Block[] = [];
  private readonly waiting: Part[] = [];
  private heldBytes = 0;
  private soon: NodeJS.Immediate | undefined;
  private paused = false;
  private over = false;
  private taker: InflowTaker | undefined;
  private socket: Socket | undefined;
  private onFirst: (() => void) | undefined;

  /** Resolves when something has come, and leaves it here. @param signal rejects it with its reason */
  first(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.heldBytes > 0) return resolve();
      if (signal.aborted) return reject(signal.reason as Error);
      this.onFirst = resolve;
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }

  /** All that has come and will come goes to `taker`. @param socket that this is the inflow of */
  pour(socket: Socket, taker: InflowTaker): void {
    [this.socket, this.taker] = [socket, taker];
    if (this.heldBytes > 0) taker.onBytes(this.heldBytes);
    this.flush();
  }

  /** Gives what has come until now at once. */
  flush(): void {
    if (this.soon) clearImmediate(this.soon);
    this.soon = undefined;
    const bytes = this.block.bytes.subarray(this.given, this.filled);
    if (bytes.length > 0) this.waiting.push({ block: this.block, bytes });
    if (bytes.length > 0) this.block.parts++;
    this.given = this.filled;
    if (this.taker) for (const part of this.waiting.splice(0)) this.giveOne(part, this.taker);
  }

  /** What comes from now on is thrown away. */
  stop(): void {
    this.over = true;
    if (this.soon) clearImmediate(this.soon);
  }

  private room(): Buffer {
    return this.block.bytes.subarray(this.filled);
  }

  /** False: the socket is not read until somebody lets go of something. */
  private take(bytes: number): boolean {
    if (this.over) return true;
    this.filled += bytes;
    this.heldBytes += bytes;
    this.onFirst?.();
    this.onFirst = undefined;
    this.taker?.onBytes(bytes);
    if (this.block.bytes.length - this.filled < LEAST_BYTES) this.next();
    // what else comes in this turn goes on in the same write
    else this.soon ??= setImmediate(() => this.flush());
    this.paused = this.heldBytes > MOST_HELD_BYTES;
    return !this.paused;
  }

  private next(): void {
    this.flush();
    this.block.full = true;
    this.recycle(this.block);
    this.block = this.idle.pop() ?? newBlock();
    this.block.full = false;
    this.filled = this.given = 0;
  }

  private giveOne({ block, bytes }: Part, taker: InflowTaker): void {
    let done = false;
    taker.give(bytes, () => {
      if (done) return;
      done = true;
      block.parts--;
      this.heldBytes -= bytes.length;
      this.recycle(block);
      this.resume();
    });
  }

  private recycle(block: Block): void {
    if (block.full && block.parts === 0) this.idle.push(block);
  }

  private resume(): void {
    if (!this.paused || this.over || this.heldBytes > MOST_HELD_BYTES / 2) return;
    this.paused = false;
    this.socket?.resume();
  }
}

const newBlock = (): Block => ({ bytes: Buffer.allocUnsafeSlow(BLOCK_BYTES), parts: 0, full: false });
