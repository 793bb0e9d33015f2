/**
 * The only place that starts processes. Argument arrays, never a shell; a deadline, bounded output and one uniform error for
 * each of them. `run` is for the host's own tools, `runConfined` for tools that read what a stranger wrote, `launch` for
 * helpers that outlive the agent (helpers.ts keeps those). Knows nothing of what the programs do.
 */
import { execa } from 'execa';
import { openSync, closeSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { ClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { confine, type Confinement, type SandboxUser } from './confine.ts';
import { BOUND, boundMark } from './orphans.ts';
import { PACKAGES } from './packages.ts';

export interface RunOptions {
  /** Kills the program: SIGTERM, then SIGKILL after five seconds. The call then fails with CANCELLED. */
  readonly signal?: AbortSignal;
  /** Asks the program, also a confined one, to end in order (SIGTERM). What it then ends with is its answer. */
  readonly enough?: AbortSignal;
  /** Default 60 s; 0 waits for ever (then give a signal). */
  readonly timeoutMs?: number;
  readonly input?: string;
  /** Standard output beyond this fails the call; default 1 MiB. */
  readonly maxOutputBytes?: number;
  /** Gets standard output while it comes, for progress. */
  readonly onOutput?: (text: string) => void;
  /** Exit codes that are not failures besides 0. */
  readonly okCodes?: readonly number[];
  /** An open file that the program gets as its descriptor 3. */
  readonly descriptor?: number;
  /** Goes before the error's text: what was being done, and to which object. */
  readonly what?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gets its standard input and output, which is then not kept, to talk to it until it ends. */
  readonly converse?: (stdin: Writable, stdout: Readable) => void;
}

export interface StreamOptions {
  readonly signal: AbortSignal;
  /** Goes before the error's text. */
  readonly what?: string;
}

export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

export interface LaunchOptions {
  /** Gets standard output and error, appended. */
  readonly logFile: string;
  readonly confined?: Confinement;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface Exec {
  run(program: string, args: readonly string[], options?: RunOptions): Promise<RunResult>;
  /** Standard output while it comes, for as long as the program runs or somebody reads; the signal ends it. No deadline. */
  stream(program: string, args: readonly string[], options: StreamOptions): AsyncIterable<string>;
  /** As the unprivileged user, in network and process namespaces of its own, without privileges, under limits; dies with the agent. */
  runConfined(
    program: string,
    args: readonly string[],
    options?: RunOptions & { limits?: Confinement },
  ): Promise<RunResult>;
  /** The command line that starts `program` confined, for a service manager or `launch`; it does not die with the agent. */
  confinedCommand(program: string, args: readonly string[], limits?: Confinement): Promise<readonly string[]>;
  /** Starts a process in a session of its own that outlives the agent; returns its process id. */
  launch(program: string, args: readonly string[], options: LaunchOptions): Promise<number>;
  /** Who confined programs run as: give them their files. */
  sandboxUser(): Promise<SandboxUser>;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const KILL_DELAY_MS = 5_000;
const MAX_OUTPUT_BYTES = 1 << 20;
/** Nothing of the agent's own environment reaches a child. */
const ENV = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', HOME: '/' };

/** @param config.unprivilegedUser name of the account that confined programs run as. */
export function createExec(config: { readonly unprivilegedUser: string }): Exec {
  let user: Promise<SandboxUser> | undefined;
  const sandboxUser = (): Promise<SandboxUser> => (user ??= lookUp(config.unprivilegedUser));
  const confinedCommand = async (
    program: string,
    args: readonly string[],
    limits?: Confinement,
  ): Promise<readonly string[]> => confine(await sandboxUser(), limits ?? {}, false, [program, ...args]);
  return {
    run: (program, args, options = {}) => start([program, ...args], program, options, 'process'),
    stream,
    async runConfined(program, args, options = {}) {
      const argv = confine(await sandboxUser(), options.limits ?? {}, true, [program, ...args]);
      return start(argv, program, options, 'group');
    },
    confinedCommand,
    async launch(program, args, options) {
      const argv = options.confined ? await confinedCommand(program, args, options.confined) : [program, ...args];
      return launch(argv, program, options);
    },
    sandboxUser,
  };
}

async function start(
  argv: readonly string[],
  program: string,
  options: RunOptions,
  ends: 'process' | 'group',
): Promise<RunResult> {
  const [file = '', ...args] = argv;
  // execa takes any descriptor, its types only name the first ten
  const descriptor = options.descriptor === undefined ? [] : [options.descriptor as 9];
  const child = execa(file, args, {
    cwd: '/',
    env: { ...ENV, ...(ends === 'group' && { [BOUND]: boundMark() }), ...options.env },
    extendEnv: false,
    stdio: [stdinOf(options), 'pipe', 'pipe', ...descriptor],
    buffer: { stdout: !options.converse },
    ...(options.input === undefined ? {} : { input: options.input }),
    timeout: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
    ...(options.signal ? { cancelSignal: options.signal } : {}),
    // `unshare --fork` holds SIGTERM back; what is confined and keeps something is told by `enough`
    killSignal: ends === 'group' ? 'SIGKILL' : 'SIGTERM',
    detached: ends === 'group',
    forceKillAfterDelay: KILL_DELAY_MS,
    maxBuffer: options.maxOutputBytes ?? MAX_OUTPUT_BYTES,
    stripFinalNewline: false,
    reject: false,
  });
  // a cancel may come before what it starts is bound to its life
  if (ends === 'group') child.once('exit', () => signalGroup(child.pid, 'SIGKILL'));
  const ask = () => (ends === 'group' ? signalGroup(child.pid, 'SIGTERM') : child.kill('SIGTERM'));
  options.enough?.addEventListener('abort', ask, { once: true });
  child.once('exit', () => options.enough?.removeEventListener('abort', ask));
  listen(child as unknown as { readonly stdin: Writable; readonly stdout: Readable }, options);
  const result = await child;
  const exitCode = result.exitCode ?? -1;
  const { stdout = '', stderr } = result;
  if (!result.failed || options.okCodes?.includes(exitCode)) return { stdout, stderr, exitCode };
  throw toError({ program, exitCode, ...pick(result) }, options);
}

const stdinOf = ({ input, converse }: RunOptions): 'ignore' | 'pipe' =>
  input === undefined && !converse ? 'ignore' : 'pipe';

function listen(
  child: { readonly stdin: Writable; readonly stdout: Readable },
  { converse, onOutput }: RunOptions,
): void {
  if (converse) converse(child.stdin, child.stdout);
  if (onOutput) child.stdout.on('data', (chunk: Buffer | string) => onOutput(chunk.toString()));
}

async function* stream(program: string, args: readonly string[], options: StreamOptions): AsyncGenerator<string> {
  const { signal } = options;
  const child = execa(program, [...args], {
    ...{ cwd: '/', env: ENV, extendEnv: false, stdio: ['ignore', 'pipe', 'pipe'], reject: false },
    ...{ buffer: { stdout: false }, maxBuffer: MAX_OUTPUT_BYTES, stripFinalNewline: false },
    ...{ cancelSignal: signal, forceKillAfterDelay: KILL_DELAY_MS },
  });
  const { stdout } = child as unknown as { readonly stdout: Readable };
  try {
    stdout.setEncoding('utf8');
    for await (const piece of stdout) yield String(piece);
  } catch (e) {
    if (!signal.aborted) throw e;
  } finally {
    child.kill();
  }
  const result = await child;
  if (signal.aborted || !result.failed) return;
  const stderr = typeof result.stderr === 'string' ? result.stderr : '';
  throw toError({ program, exitCode: result.exitCode ?? -1, ...pick({ ...result, stderr }) }, options);
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // nobody is left in it, as it should be
  }
}

interface Ended {
  readonly program: string;
  readonly exitCode: number;
  readonly stderr: string;
  readonly code: string | undefined;
  readonly signal: string | undefined;
  readonly timedOut: boolean;
  readonly isCanceled: boolean;
  readonly isMaxBuffer: boolean;
}

const pick = (
  r: Omit<Ended, 'program' | 'exitCode' | 'code' | 'signal'> & {
    code?: string | undefined;
    signal?: string | undefined;
  },
): Omit<Ended, 'program' | 'exitCode'> => ({
  stderr: r.stderr,
  code: r.code,
  signal: r.signal,
  timedOut: r.timedOut,
  isCanceled: r.isCanceled,
  isMaxBuffer: r.isMaxBuffer,
});

/** One line: what was being done, which program, why it ended, the last thing it said. */
function toError(e: Ended, options: RunOptions): ClusterError {
  const line = lastLine(e.stderr);
  const before = options.what === undefined ? '' : `${options.what}: `;
  const meta = { program: e.program, exitCode: String(e.exitCode), stderr: e.stderr.slice(-2_000) };
  if (isMissing(e)) return missingProgram(e.program);
  if (e.isCanceled)
    return new ClusterError('CANCELLED', `${before}${e.program} was stopped because it was cancelled`, meta);
  if (e.timedOut) {
    const seconds = (options.timeoutMs ?? DEFAULT_TIMEOUT_MS) / 1_000;
    return new ClusterError(
      'DEADLINE_EXCEEDED',
      `${before}${e.program} took longer than ${seconds} s and was stopped`,
      meta,
    );
  }
  if (/No space left on device|ENOSPC|Disk quota exceeded/.test(e.stderr))
    return new ClusterError('DISK_FULL', `${before}${e.program} found no space left on the disk`, meta);
  if (e.isMaxBuffer) return new ClusterError('INTERNAL', `${before}${e.program} printed more than it may`, meta);
  const end = e.signal ? `was killed by ${e.signal}` : `failed with code ${e.exitCode}`;
  return new ClusterError('INTERNAL', `${before}${e.program} ${end}${line ? ` (${line})` : ''}`, meta);
}

function lastLine(text: string): string {
  const lines = text
    .split(/[\r\n]+/)
    .map((l) => l.trim())
    .filter((l) => l !== '');
  return (lines.at(-1) ?? '').slice(0, 300);
}

/** Directly, or through one of the programs that confine it. */
const isMissing = (e: Ended): boolean =>
  e.code === 'ENOENT' || (e.exitCode === 127 && /failed to execute .*No such file/.test(e.stderr));

function missingProgram(program: string): ClusterError {
  const pkg = PACKAGES[program];
  const todo = pkg ? `install it: apt-get install ${pkg}` : 'install it on this host';
  return unsupported(`${program} is not installed on this host; ${todo}`, { program });
}

async function lookUp(name: string): Promise<SandboxUser> {
  const { stdout, exitCode } = await start(['getent', 'passwd', name], 'getent', { okCodes: [2] }, 'process');
  const [, , uid, gid] = stdout.split(':');
  if (exitCode !== 0 || !uid || !gid || uid === '0')
    throw unsupported(
      `this host has no unprivileged user ${JSON.stringify(name)} to run disk tools as; create it: adduser --system --group ${name}`,
      { user: name },
    );
  return { name, uid: Number(uid), gid: Number(gid) };
}

async function launch(argv: readonly string[], program: string, options: LaunchOptions): Promise<number> {
  const [file = '', ...args] = argv;
  // execa takes any descriptor, its types only name the first ten
  const log = openSync(options.logFile, 'a', 0o600) as 9;
  try {
    const child = execa(file, args, {
      cwd: '/',
      env: { ...ENV, ...options.env },
      extendEnv: false,
      stdio: ['ignore', log, log],
      detached: true,
      cleanup: false,
      reject: false,
      buffer: false,
    });
    child.unref();
    if (child.pid === undefined)
      throw (await child).code === 'ENOENT' ? missingProgram(program) : failedToStart(program);
    return child.pid;
  } finally {
    closeSync(log);
  }
}

const failedToStart = (program: string): ClusterError =>
  new ClusterError('INTERNAL', `${program} could not be started`);
