/** Reads the one line that a peer sends before the stream begins: bounded, and within a deadline. Whatever follows it stays in the stream. */
import type { Duplex } from 'node:stream';
import type { Clock } from '@berth/shared/runtime/clock.ts';

const NEWLINE = 0x0a;

/** Undefined when the line is too long, too late, or never ends. The stream is paused afterwards. */
export function readFirstLine(
  stream: Duplex,
  limits: { readonly maxBytes: number; readonly timeoutMs: number },
  clock: Clock,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    let seen = Buffer.alloc(0);
    const finish = (line: string | undefined): void => {
      timer.cancel();
      stream.off('readable', onReadable).off('close', onEnd).off('end', onEnd).off('error', onEnd);
      resolve(line);
    };
    const onEnd = (): void => finish(undefined);
    const onReadable = (): void => {
      for (let chunk: Buffer | null; (chunk = stream.read() as Buffer | null) !== null;) {
        seen = Buffer.concat([seen, chunk]);
        const end = seen.indexOf(NEWLINE);
        if (end >= 0 && end <= limits.maxBytes) {
          stream.unshift(seen.subarray(end + 1));
          return finish(seen.subarray(0, end).toString('latin1'));
        }
        if (seen.length > limits.maxBytes) return finish(undefined);
      }
    };
    const timer = clock.after(limits.timeoutMs, onEnd);
    stream.on('readable', onReadable).once('close', onEnd).once('end', onEnd).once('error', onEnd);
  });
}
