import { EventEmitter } from 'node:events';
import { expect, it, vi } from 'vitest';
import { paced } from './paced.ts';

/** Takes one message at a time. */
class Sink extends EventEmitter {
  readonly written: number[] = [];
  write(n: number): boolean {
    this.written.push(n);
    return false;
  }
}

it('waits until the call takes more, and leaves nothing with its end, however many are written', async () => {
  const [sink, ended] = [new Sink(), new Promise<never>(() => undefined)];
  const then = vi.spyOn(ended, 'then');
  const write = paced(sink, ended);
  for (let n = 0; n < 100; n++) {
    let done = false;
    const writing = write(n).then(() => (done = true));
    await Promise.resolve();
    expect(done).toBe(false);
    sink.emit('drain');
    await writing;
  }
  expect(sink.written).toHaveLength(100);
  expect(then).toHaveBeenCalledTimes(1);
  expect(sink.listenerCount('drain')).toBe(0);
});

it.each([
  ['has ended', (end: () => void) => end()],
  ['has failed', (_: () => void, fail: (e: Error) => void) => fail(new Error('no'))],
])('does not wait for a call that %s', async (_, over) => {
  const { promise, resolve, reject } = withResolvers();
  const write = paced(new Sink(), promise);
  const writing = write(1);
  over(resolve, reject);
  await writing;
  await write(2);
});

function withResolvers() {
  let [resolve, reject] = [(): void => undefined, (_: Error): void => undefined];
  const promise = new Promise<void>((yes, no) => ([resolve, reject] = [yes, no]));
  return { promise, resolve, reject };
}
