import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterEach, expect, it, vi } from 'vitest';
import { BOUND, boundMark, endOrphans } from './orphans.ts';

const started: ReturnType<typeof spawn>[] = [];
function sleeper(mark: string | undefined): number {
  const env = { PATH: process.env['PATH'] ?? '', ...(mark !== undefined && { [BOUND]: mark }) };
  const child = spawn('sleep', ['300'], { env, stdio: 'ignore' });
  started.push(child);
  return child.pid!;
}
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});
const isThere = (pid: number): boolean => existsSync(`/proc/${pid}/exe`);

it('what was bound to an agent that is gone is ended, and nothing else', async () => {
  const [where, pid, ticks] = boundMark().split('/');
  const own = sleeper(boundMark());
  // of nobody's, and of an agent in a container, whose process ids are others
  const strangers = [sleeper(undefined), sleeper(`pid:[1]/4194304/${ticks}`), sleeper('nonsense')];
  // of an agent that is gone; and of one whose process id somebody else has now
  const orphans = [sleeper(`${where}/4194304/${ticks}`), sleeper(`${where}/${pid}/${Number(ticks) - 1}`)];
  await vi.waitFor(async () => expect([own, ...strangers, ...orphans].every(isThere)).toBe(true));
  expect(await endOrphans()).toBeGreaterThanOrEqual(orphans.length);
  await vi.waitFor(() =>
    expect(orphans.map((o) => started.find((c) => c.pid === o)?.signalCode)).toEqual(['SIGKILL', 'SIGKILL']),
  );
  expect([own, ...strangers].map(isThere)).toEqual([true, true, true, true]);
});
