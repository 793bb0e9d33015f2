/**
 * Writes messages into a call no faster than it takes them. Nothing of a write is kept when it is over: an upload has millions, and a
 * race of each with the end of the call would leave something of every one with that. Knows no messages.
 */
import { Fuse } from '@berth/shared/runtime/fuse.ts';

export interface Sink<M> {
  /** False: wait for `drain` before the next. */
  write(message: M): boolean;
  once(event: 'drain', told: () => void): unknown;
}

/** @param ended of the call; from then on no write waits. @returns what writes one message, one at a time */
export function paced<M>(sink: Sink<M>, ended: Promise<unknown>): (message: M) => Promise<void> {
  const fuse = new Fuse();
  const burn = (): void => fuse.burn(undefined);
  ended.then(burn, burn);
  return async (message) => {
    if (sink.write(message)) return;
    await fuse.wait(new Promise<void>((resolve) => sink.once('drain', resolve))).catch(() => undefined);
  };
}
