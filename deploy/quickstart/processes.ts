/** Daemons that outlive the quickstart: started detached, found again by their command line. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { execa } from 'execa';
import { systemClock } from '@berth/shared/runtime/clock.ts';

export type Argv = readonly [string, ...string[]];

/** Makes sure that a program runs in the background; its output goes to `logFile`. */
export function ensureDaemon(argv: Argv, logFile: string): void {
  if (runs(argv)) return;
  const log = openSync(logFile, 'a', 0o600);
  try {
    spawn(argv[0], argv.slice(1), { detached: true, stdio: ['ignore', log, log] }).unref();
  } finally {
    closeSync(log);
  }
}

export const runs = (argv: Argv): boolean => daemons((words) => words.join('\0') === argv.join('\0')).length > 0;

/** Ends all processes that work with something below `dir`: SIGTERM, then SIGKILL. Answers how many there were. */
export async function endDaemons(program: string, dir: string): Promise<number> {
  const ours = () => daemons((words) => words.includes(program) && words.some((w) => w.startsWith(`${dir}/`)));
  const pids = ours();
  pids.forEach((pid) => process.kill(pid, 'SIGTERM'));
  if (!(await settles(() => ours().length === 0, 10_000))) ours().forEach((pid) => process.kill(pid, 'SIGKILL'));
  return pids.length;
}

/** Ids of the processes whose command line is wanted. Looked up each time: what a crash or a restart left is seen as it is. */
function daemons(wanted: (argv: readonly string[]) => boolean): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => wanted(commandLine(pid)))
    .map(Number);
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return []; // it ended just now
  }
}

/** Runs one of our own commands to its end; throws with its own words. */
export async function runCommand(argv: Argv, input?: string): Promise<string> {
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

/** The first free ports from `from` on: below those that the system gives to outgoing connections, so they stay free. */
export async function freePorts(address: string, from: number, wanted: number): Promise<number[]> {
  const found: number[] = [];
  for (let port = from; found.length < wanted; port++) if ((await freePort(address, port)) === port) found.push(port);
  return found;
}

/** What a daemon said last: mostly why it ended. */
export const lastLine = (file: string): string =>
  existsSync(file) ? (readFileSync(file, 'utf8').trim().split('\n').at(-1) ?? '') : '';
