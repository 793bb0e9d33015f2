/** Runs something while a confined qemu-nbd serves a file of ours, which ends with it, or with the agent. */
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Exec } from '../../exec.ts';
import { accepts } from '../../helpers.ts';
import { openSocket } from '../../take-file.ts';
import type { Pool } from '../pool.ts';

export interface ServedFile {
  readonly path: string;
  /** Undefined: the path is QEMU's options of an image, or QEMU's JSON of one. */
  readonly format: 'qcow2' | 'raw' | undefined;
  /** Root reads it, as bytes of which it understands nothing (raw), and any confined program may ask for them. */
  readonly asRoot?: true;
  /** More words for the program, before the file. */
  readonly args?: readonly string[];
  /** Of what it may write: the largest file. Absent: it only reads. */
  readonly writesBytes?: number;
  /** What it reads lies behind the network. */
  readonly network?: boolean;
  /** An open file that it gets as its descriptor 3. */
  readonly descriptor?: number | undefined;
}

export interface ServeParts {
  readonly exec: Exec;
  readonly pool: Pick<Pool, 'runDir'>;
  readonly clock: Clock;
}

const START_MS = 15_000;
const LEAVE_MS = 5_000;
export const SERVED_EXPORT = 'disk';

/** @param fn gets the socket; the export is SERVED_EXPORT. The unprivileged user must be able to reach the file. */
export async function served<T>(
  parts: ServeParts,
  file: ServedFile,
  signal: AbortSignal,
  fn: (socketPath: string) => Promise<T>,
): Promise<T> {
  // under run/, where paths are short enough for a socket
  const dir = await mkdtemp(join(parts.pool.runDir, 'digest-'));
  try {
    const user = await parts.exec.sandboxUser();
    if (!file.asRoot) await chown(dir, user.uid, user.gid);
    return await serving(parts, { ...file, socketPath: join(dir, 's') }, signal, fn);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function serving<T>(
  { exec, clock }: ServeParts,
  file: ServedFile & { readonly socketPath: string },
  outer: AbortSignal,
  fn: (socketPath: string) => Promise<T>,
): Promise<T> {
  const [asked, enough] = [new AbortController(), new AbortController()];
  const signal = AbortSignal.any([enough.signal, outer]);
  const { socketPath, format, path, writesBytes } = file;
  const mode = writesBytes === undefined ? ['-r'] : ['--discard=unmap', '--detect-zeroes=unmap'];
  const args = [
    ...mode,
    ...['-t', '-e', '0', '-x', SERVED_EXPORT, '-k', socketPath, ...formatWords(file)],
    ...(file.args ?? []),
  ];
  const limits = {
    ...(writesBytes !== undefined && { fileBytes: writesBytes }),
    ...(file.network === true && { network: true }),
  };
  const what = `${writesBytes === undefined ? 'reading' : 'writing'} ${format ? path : 'storage'}`;
  const options = { signal, enough: asked.signal, timeoutMs: 0, what };
  const server = file.asRoot
    ? exec.run('setpriv', ['--pdeathsig', 'SIGKILL', '--', 'qemu-nbd', ...args, path], options)
    : exec.runConfined('qemu-nbd', [...args, path], {
        ...{ ...options, limits },
        ...(file.descriptor !== undefined && { descriptor: file.descriptor }),
      });
  const over = server.then(
    () => undefined,
    () => undefined,
  );
  const ended = server.then(() => {
    throw new ClusterError('INTERNAL', `${what}: qemu-nbd ended before its time`);
  });
  try {
    await Promise.race([ended, listening(socketPath, clock, signal)]);
    if (file.asRoot) await openSocket(socketPath);
    return await Promise.race([ended, fn(socketPath)]);
  } catch (e) {
    // why it was ended says more than what is not there any more
    if (outer.aborted) await server;
    throw e;
  } finally {
    if (file.network === true) await leave(asked, over, clock);
    enough.abort();
    await over;
  }
}

/** A server of storage holds what a killed reader had open for half a minute, in which nobody can delete it. */
async function leave(asked: AbortController, over: Promise<void>, clock: Clock): Promise<void> {
  const late = new AbortController();
  asked.abort();
  await Promise.race([over, clock.sleep(LEAVE_MS, late.signal).catch(() => undefined)]);
  late.abort();
}

function formatWords({ format, path }: ServedFile): readonly string[] {
  if (format) return ['-f', format];
  return path.startsWith('json:') ? [] : ['--image-opts'];
}

async function listening(socketPath: string, clock: Clock, signal: AbortSignal): Promise<void> {
  for (const deadline = clock.monotonic() + START_MS; !(await accepts(socketPath)); await clock.sleep(10)) {
    if (signal.aborted) throw new ClusterError('CANCELLED', 'the check of the disk was cancelled');
    if (clock.monotonic() > deadline)
      throw new ClusterError('INTERNAL', `qemu-nbd was not ready within ${START_MS / 1_000} s`);
  }
}
