/**
 * Joins two sockets until either ends. Keeps no more than the sockets' own buffers: a side that does not take what it
 * is sent stops the other from being read. Decides nothing about who may be joined.
 */
import type { Socket } from 'node:net';
import type { Clock } from '@berth/shared/runtime/clock.ts';

export type Side = 'near' | 'far';

export interface SpliceEnd {
  /** Who ended it. */
  readonly by: Side;
  readonly error: Error | undefined;
}

export interface SpliceOptions {
  readonly clock: Clock;
  /** Called before bytes that came from this side go to the other. */
  readonly onBytes?: (from: Side, bytes: number) => void;
}

/** How long the other side gets to take what was still on its way. */
const DRAIN_MS = 10_000;

/** Resolves when both are closed or being closed. */
export function splice(near: Socket, far: Socket, options: SpliceOptions): Promise<SpliceEnd> {
  return new Promise((resolve) => {
    let over = false;
    const finish = (by: Side, error?: Error): void => {
      if (over) return;
      over = true;
      const [ended, other] = by === 'near' ? [near, far] : [far, near];
      ended.destroy();
      drain(other, options.clock);
      resolve({ by, error });
    };
    carry('near', { source: near, sink: far }, options, finish);
    carry('far', { source: far, sink: near }, options, finish);
  });
}

function carry(
  from: Side,
  { source, sink }: { source: Socket; sink: Socket },
  options: SpliceOptions,
  finish: (by: Side, error?: Error) => void,
): void {
  source.on('data', (chunk: Buffer) => {
    options.onBytes?.(from, chunk.length);
    if (!sink.writable) return;
    together(sink);
    if (!sink.write(chunk)) source.pause();
  });
  sink.on('drain', () => source.resume());
  source
    .on('error', (e) => finish(from, e))
    .on('end', () => finish(from))
    .on('close', () => finish(from));
  if (source.destroyed || source.readableEnded) finish(from);
  else source.resume();
}

/** TLS gives several records at once: they go on in one write. */
function together(sink: Socket): void {
  if (sink.writableCorked > 0) return;
  sink.cork();
  process.nextTick(() => sink.uncork());
}

function drain(socket: Socket, clock: Clock): void {
  if (socket.destroyed) return;
  socket.resume(); // what still comes is not wanted, but must be read for the end to be seen
  const timer = clock.after(DRAIN_MS, () => socket.destroy());
  socket.once('close', () => timer.cancel());
  socket.destroySoon();
}
