/** Our own programs as processes, for integration and lab tests: start, kill at will, run `berth` and look at what it said. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { findRoot } from '@berth/deploy/setup/root.js';
import { systemClock } from '@berth/shared/runtime/clock.ts';

const root = findRoot();
export const PROGRAMS = {
  berth: join(root, 'controller/dist/cli/berth.js'),
  controller: join(root, 'controller/dist/berth-controller.js'),
  agent: join(root, 'agent/dist/berth-agent.js'),
};

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly input?: string;
  /** Default three minutes. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Runs one program to its end, within a minute or two. */
export async function run(program: string, args: readonly string[], o: RunOptions = {}): Promise<Said> {
  const r = await execa(process.execPath, [program, ...args], {
    reject: false,
    timeout: o.timeoutMs ?? 180_000,
    killSignal: 'SIGKILL',
    ...(o.input === undefined ? { stdin: 'ignore' as const } : { input: o.input }),
    ...(o.env ? { env: { ...o.env } } : {}),
    ...(o.cwd ? { cwd: o.cwd } : {}),
  });
  return { code: r.exitCode ?? -1, out: String(r.stdout), err: String(r.stderr) };
}

/** A daemon under test: its output is kept, and it can be killed and started again. */
export class Daemon {
  #process: { readonly pid?: number | undefined; kill(signal: NodeJS.Signals): boolean } | undefined;
  #ended: Promise<void> = Promise.resolve();
  #output = '';

  constructor(
    private readonly program: string,
    private readonly args: readonly string[],
    private readonly env: Readonly<Record<string, string>> = {},
  ) {}

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Everything that it said, over all its lives. */
  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.#process !== undefined;
  }

  start(): void {
    if (this.#process) return;
    const child = execa(process.execPath, [this.program, ...this.args], {
      reject: false,
      stdin: 'ignore',
      all: true,
      buffer: false,
      env: { ...this.env },
    });
    child.all?.on('data', (d: Buffer) => (this.#output = (this.#output + d.toString()).slice(-1_000_000)));
    this.#process = child;
    this.#ended = child.then(() => {
      this.#process = undefined;
    });
  }

  /** Sends a signal and goes on, such as one that freezes it. */
  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.#process?.kill(signal);
    await this.#ended;
  }

  async restart(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await this.end(signal);
    this.start();
  }
}

/** A directory that is removed at the end. */
export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'berth-test-'));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const looking = new AsyncLocalStorage<true>();

/** Whether this runs within a look of `eventually`. */
export const isLook = (): boolean => looking.getStore() === true;

/** Between two looks. */
const MIN_PAUSE_MS = 25;
const MAX_PAUSE_MS = 700;

/**
 * How long to wait before the next look: a look costs what guests and daemons need to get there, and the longer they take, the
 * less often it is worth that. One that costs nothing is not put off. Pure.
 */
export const pauseMs = (lookMs: number, waitedMs: number): number =>
  Math.min(MAX_PAUSE_MS, MIN_PAUSE_MS + lookMs * (2 + waitedMs / 1_000));

/** Looks until `look` gives something; throws with `what` and the last error when the time is over. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  deadlineMs = 30_000,
): Promise<T> {
  const start = systemClock.monotonic();
  let last: unknown;
  for (;;) {
    const began = systemClock.monotonic();
    try {
      const found = await looking.run(true, look);
      if (found !== undefined && found !== false) return found;
      last = undefined;
    } catch (e) {
      last = e;
    }
    const now = systemClock.monotonic();
    if (now > start + deadlineMs)
      throw new Error(`${what}: not within ${deadlineMs / 1000} s${last ? ` (${String(last)})` : ''}`);
    await systemClock.sleep(pauseMs(now - began, now - start));
  }
}
