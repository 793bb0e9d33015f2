/** Daemons that outlive the quickstart: started detached, found again by process id, ended by it. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { execa } from 'execa';
import { systemClock } from '@berth/shared/runtime/clock.ts';

/** Starts a program in the background; its output goes to `logFile`. */
export function startDaemon(argv: readonly [string, ...string[]], logFile: string): number {
  const log = openSync(logFile, 'a', 0o600);
  try {
    const child = spawn(argv[0], argv.slice(1), { detached: true, stdio: ['ignore', log, log] });
    child.unref();
    if (child.pid === undefined) throw new Error(`${argv[0]} does not start; see ${logFile}`);
    return child.pid;
  } finally {
    closeSync(log);
  }
}

/** Whether a process is (still) the program we started: pids are used again. */
export function runs(pid: number | undefined, program: string): boolean {
  if (pid === undefined) return false;
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(program);
  } catch {
    return false;
  }
}

/** SIGTERM, then SIGKILL. True when it ran. */
export async function endDaemon(pid: number | undefined, program: string): Promise<boolean> {
  if (pid === undefined || !runs(pid, program)) return false;
  process.kill(pid, 'SIGTERM');
  if (!(await settles(() => !runs(pid, program), 10_000))) process.kill(pid, 'SIGKILL');
  return true;
}

/** Runs one of our own commands to its end; throws with its own words. */
export async function runCommand(argv: readonly [string, ...string[]], input?: string): Promise<string> {
  const r = await execa(argv[0], argv.slice(1), { reject: false, ...(input === undefined ? {} : { input }) });
  if (r.exitCode !== 0) throw new Error(`${r.stderr || r.stdout || argv.join(' ')}`.trim());
  return r.stdout;
}

/** Looks until `look` is true. False when the time is over. */
export async function settles(look: () => boolean | Promise<boolean>, deadlineMs: number): Promise<boolean> {
  const until = systemClock.monotonic() + deadlineMs;
  while (systemClock.monotonic() < until) {
    if (await look()) return true;
    await systemClock.sleep(30);
  }
  return look();
}

/** `wanted`, or any other when something listens there already. */
export function freePort(address: string, wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', () => (wanted === 0 ? reject(new Error('no free port')) : resolve(freePort(address, 0))));
    probe.listen(wanted, address, () => {
      const bound = probe.address();
      probe.close(() => resolve(typeof bound === 'object' && bound ? bound.port : wanted));
    });
  });
}

/** What a daemon said last: mostly why it ended. */
export const lastLine = (file: string): string =>
  existsSync(file) ? (readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '') : '';
