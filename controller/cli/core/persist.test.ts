import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { persist } from './persist.ts';

const lost = () => new ClusterError('HOST_UNREACHABLE', 'host h2 did not answer');

/** What was tried, and said, until it was over. Time passes at once. */
async function run(attempts: readonly (Error | 'done')[], alive = true, signal = new AbortController().signal) {
  const stderr = new PassThrough();
  let [tries, nowMs] = [0, 0];
  const waits: number[] = [];
  const clock = {
    ...systemClock,
    monotonic: () => nowMs,
    sleep: async (ms: number) => void (waits.push(ms), (nowMs += ms)),
  };
  const ended = await persist({ clock, stderr }, { what: 'web', leave: 'Ctrl-] leaves', signal }, async (works) => {
    const outcome = attempts[tries++];
    if (alive && (tries === 1 || outcome === 'done')) works();
    if (outcome instanceof Error) throw outcome;
  }).then(
    () => 'over',
    (e: unknown) => e,
  );
  return { ended, tries, waits, said: String(stderr.read() ?? '') };
}

describe('a stream that is kept open', () => {
  it('comes back when its host does, and says so once, however long that takes', async () => {
    const r = await run([...Array.from({ length: 9 }, lost), 'done']);
    expect(r).toMatchObject({ ended: 'over', tries: 10 });
    expect(r.said).toBe('host h2 did not answer. Waiting for it; Ctrl-] leaves.\nweb is back.\n');
    expect(r.waits).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000, 5000, 5000]);
  });

  it('that never worked is told at once why', async () => {
    expect(await run([lost(), 'done'], false)).toMatchObject({ ended: { reason: 'HOST_UNREACHABLE' }, tries: 1 });
  });

  it.each(['NOT_FOUND', 'PERMISSION_DENIED', 'UNAUTHENTICATED', 'INTERNAL'] as const)(
    'ends with %s',
    async (reason) => {
      expect(await run([lost(), new ClusterError(reason, 'no')])).toMatchObject({ ended: { reason }, tries: 2 });
    },
  );

  it('that somebody took is not taken back; one that seems to be in use still is waited for, and not for ever', async () => {
    const taken = new ClusterError('RESOURCE_BUSY', 'taken over', { taken: 'over' });
    expect(await run([taken, 'done'])).toMatchObject({ ended: taken, tries: 1 });
    const busy = new ClusterError('RESOURCE_BUSY', 'in use');
    expect(await run([lost(), busy, 'done'])).toMatchObject({ ended: 'over', tries: 3 });
    expect(await run([lost(), ...Array.from({ length: 50 }, () => busy)])).toMatchObject({ ended: busy });
  });

  it('ends when its person leaves', async () => {
    const left = new AbortController();
    left.abort();
    expect(await run([lost()], true, left.signal)).toMatchObject({ ended: 'over', tries: 0 });
  });
});
