/**
 * Joins two connections until either ends: one that came to this host, and one that this host made, over which most of the
 * bytes come. Keeps little: a side that does not take what it is sent stops the other from being read. Decides nothing about
 * who may be joined.
 */
import type { Socket } from 'node:net';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Inflow } from './inflow.ts';

export type Side = 'near' | 'far';

export interface SpliceEnd {
  /** Who ended it. */
  readonly by: Side;
  readonly error: Error | undefined;
}

/** A connection that was made with this inflow. */
export interface Far<S extends Socket = Socket> {
  readonly socket: S;
  readonly inflow: Inflow;
}

export interface SpliceOptions {
  readonly clock: Clock;
  /** Called before bytes that came from this side go to the other. */
  readonly onBytes?: (from: Side, bytes: number) => void;
}

type Finish = (by: Side, error?: Error) => void;

/** How long the other side gets to take what was still on its way. */
const DRAIN_MS = 10_000;

/** Resolves when both are closed or being closed. */
export function splice(near: Socket, far: Far, options: SpliceOptions): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    let over = false;
    const finish: Finish = (by, error) => {
      if (over) return;
      over = true;
      if (by === 'far') far.inflow.flush();
      far.inflow.stop();
      const [ended, other] = by === 'near' ? [near, far.socket] : [far.socket, near];
      ended.destroy();
      drain(other, options.clock);
      resolve({ by, error });
    };
    carry(near, far.socket, options);
    pour(far, near, options);
    watch('near', near, finish);
    watch('far', far.socket, finish);
  });
}

/** What is asked for: little, as it comes. */
function carry(near: Socket, far: Socket, { onBytes }: SpliceOptions): void {
  near.on('data', (chunk: Buffer) => {
    onBytes?.('near', chunk.length);
    if (far.writable && !far.write(chunk)) near.pause();
  });
  far.on('drain', () => near.resume());
}

function pour(far: Far, near: Socket, { onBytes }: SpliceOptions): void {
  far.inflow.pour(far.socket, {
    onBytes: (bytes) => onBytes?.('far', bytes),
    give: (bytes, done) => {
      if (near.writable) near.write(bytes, done);
      else done();
    },
  });
}

function watch(side: Side, socket: Socket, finish: Finish): void {
  socket
    .on('error', (e) => finish(side, e))
    .on('end', () => finish(side))
    .on('close', () => finish(side));
  if (socket.destroyed || socket.readableEnded) finish(side);
  else socket.resume();
}

function drain(socket: Socket, clock: Clock): void {
  if (socket.destroyed) return;
  socket.resume(); // what still comes is not wanted, but must be read for the end to be seen
  const timer = clock.after(DRAIN_MS, () => socket.destroy());
  socket.once('close', () => timer.cancel());
  socket.destroySoon();
}
