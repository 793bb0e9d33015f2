/**
 * Helper processes that outlive the agent (qemu-nbd, qemu-storage-daemon): each has a folder under run/ for its socket and
 * log, and is found again after an agent restart by a mark in its environment, never by a process id that somebody else may
 * have by now. Under systemd each runs in a unit of its own, so an agent upgrade doesn't end it.
 */
import { chmod, chown, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Confinement } from './confine.ts';
import type { Pool } from './disks/pool.ts';
import type { Exec } from './exec.ts';
import { helperUnitArgs } from './helper-unit.ts';
import { systemdRuns } from './outside.ts';

export interface HelperSpec {
  /** Names the folder and the unit; at most 24 characters, because socket paths are short. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  /** Given: runs as the unprivileged user, who then owns the folder. */
  readonly confined?: Confinement;
  /** The helper is up once this UNIX socket accepts. */
  readonly socketPath: string;
}

export interface Helpers {
  /** Makes the folder. Everything in it from an earlier run, and that run's processes, are gone. */
  prepare(name: string, confined: boolean): Promise<string>;
  /** Starts it and waits until its socket accepts. Fails with the last line of its log. */
  start(spec: HelperSpec): Promise<void>;
  /** Processes that carry the mark, parents of namespaces included. */
  find(name: string): Promise<readonly number[]>;
  /** SIGTERM, after five seconds SIGKILL; `kill`: SIGKILL at once. Removes the folder. Absent is fine. */
  stop(name: string, how?: 'kill'): Promise<void>;
}

const MARK = 'BERTH_HELPER';
const START_MS = 15_000;
const STOP_MS = 5_000;
const POLL_MS = 15;

export function createHelpers(parts: { readonly exec: Exec; readonly pool: Pool; readonly clock: Clock }): Helpers {
  const { pool, clock } = parts;
  const find = (name: string): Promise<readonly number[]> => marked(pool.helperDir(name));
  const stop = async (name: string, how?: 'kill'): Promise<void> => {
    await end(() => find(name), clock, how === 'kill' ? 0 : STOP_MS);
    await rm(pool.helperDir(name), { recursive: true, force: true });
  };
  return {
    async prepare(name, confined) {
      await stop(name);
      const dir = pool.helperDir(name);
      await mkdir(dir, { recursive: true });
      await chmod(dir, 0o711);
      if (confined) {
        const user = await parts.exec.sandboxUser();
        await chown(dir, user.uid, user.gid);
      }
      return dir;
    },
    async start(spec) {
      await launch(parts, spec);
      await waitForSocket(parts, spec, () => find(spec.name));
    },
    find,
    stop,
  };
}

async function launch({ exec, pool }: { exec: Exec; pool: Pool }, spec: HelperSpec): Promise<void> {
  const dir = pool.helperDir(spec.name);
  const logFile = join(dir, 'log');
  if (!systemdRuns()) {
    const confined = spec.confined ? { confined: spec.confined } : {};
    await exec.launch(spec.program, spec.args, { logFile, ...confined, env: { [MARK]: dir } });
    return;
  }
  const argv = spec.confined
    ? await exec.confinedCommand(spec.program, spec.args, spec.confined)
    : [spec.program, ...spec.args];
  const { dataDir } = pool;
  const unit = { name: spec.name, dataDir, logFile, env: { [MARK]: dir }, confined: spec.confined !== undefined };
  await exec.run('systemd-run', helperUnitArgs(unit, argv), { what: `starting ${spec.program}` });
}

async function waitForSocket(
  { pool, clock }: { pool: Pool; clock: Clock },
  spec: HelperSpec,
  find: () => Promise<readonly number[]>,
): Promise<void> {
  const deadline = clock.monotonic() + START_MS;
  for (;;) {
    if (await accepts(spec.socketPath)) return;
    const late = clock.monotonic() > deadline;
    if (late || (await find()).length === 0) {
      const log = await readFile(join(pool.helperDir(spec.name), 'log'), 'utf8').catch(() => '');
      const line = log.trim().split('\n').at(-1)?.slice(0, 300);
      const why = late ? `was not ready within ${START_MS / 1_000} s` : 'ended at once';
      throw new ClusterError('INTERNAL', `${spec.program} ${why}${line ? ` (${line})` : ''}`, { helper: spec.name });
    }
    await clock.sleep(POLL_MS);
  }
}

/** Whether somebody listens on a UNIX socket. */
export function accepts(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path: socketPath });
    const answer = (yes: boolean) => (): void => {
      socket.destroy();
      resolve(yes);
    };
    socket.once('connect', answer(true));
    socket.once('error', answer(false));
  });
}

/** Process ids whose environment holds the mark with this folder. A process that ended meanwhile just isn't there. */
async function marked(dir: string): Promise<readonly number[]> {
  const wanted = `${MARK}=${dir}`;
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const hits = await Promise.all(
    pids.map(async (pid) =>
      (await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')).split('\0').includes(wanted),
    ),
  );
  return pids.filter((_, i) => hits[i]).map(Number);
}

async function end(find: () => Promise<readonly number[]>, clock: Clock, graceMs: number): Promise<void> {
  let pids = await find();
  if (graceMs > 0) for (const pid of pids) kill(pid, 'SIGTERM');
  const deadline = clock.monotonic() + graceMs;
  while (pids.length > 0 && clock.monotonic() < deadline) {
    await clock.sleep(POLL_MS);
    pids = await find();
  }
  for (const pid of pids) kill(pid, 'SIGKILL');
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it has ended in the meantime, which is what was wanted
  }
}
