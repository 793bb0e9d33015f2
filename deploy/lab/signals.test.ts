/** What is seen of real processes that were killed, stopped, or have ended without anybody asking. */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, it, vi } from 'vitest';
import { THREAD_STATES, threadsAfter } from './signals.ts';

const states = (...pids: readonly number[]): string =>
  spawnSync('sh', ['-c', THREAD_STATES, 'states', ...pids.map(String)], { encoding: 'utf8' }).stdout;
const are = (seen: string, wanted: string | undefined) => [...seen].every((state) => wanted?.includes(state));

it('tells threads that run, that are stopped and that are gone apart', async () => {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e6); console.log(1)']);
  await new Promise((resolve) => child.stdout.once('data', resolve));
  const pid = child.pid!;
  expect(states(pid).length).toBeGreaterThan(1);
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGSTOP'] as const)
    expect(are(states(pid), threadsAfter(signal))).toBe(false);
  child.kill('SIGSTOP');
  await vi.waitUntil(() => are(states(pid), threadsAfter('SIGSTOP')));
  expect(are(states(pid), threadsAfter('SIGTERM'))).toBe(false);
  child.kill('SIGKILL');
  await vi.waitUntil(() => are(states(pid), threadsAfter('SIGKILL')));
  await vi.waitUntil(() => states(pid) === '');
});

it('takes a process for gone whose parent does not ask for its end', async () => {
  const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60']);
  try {
    const pid = Number(await new Promise<Buffer>((resolve) => parent.stdout.once('data', resolve)));
    // a shell might ask
    await vi.waitUntil(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n');
    await vi.waitUntil(() => states(pid) === 'S');
    process.kill(pid, 'SIGKILL');
    await vi.waitUntil(() => states(pid) === 'Z');
    expect(are(states(pid), threadsAfter('SIGKILL'))).toBe(true);
  } finally {
    parent.kill('SIGKILL');
  }
});

it('knows no more of other signals than that they were sent', () => {
  expect(threadsAfter('SIGCONT')).toBeUndefined();
  expect(threadsAfter('SIGHUP')).toBeUndefined();
});
