/**
 * The qemu-storage-daemon of one fetch: a process that outlives the agent and is found again by its monitor socket. Starts,
 * adopts and ends it; what it is told to do is stream-job.ts's.
 */
import { createHash } from 'node:crypto';
import { chown, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Exec } from '../exec.ts';
import { connectQmp, type Qmp } from './qmp.ts';

export interface DaemonSpec {
  /** Folder of this helper; nothing else is in it. */
  readonly dir: string;
  /** The qcow2 that it fills. */
  readonly copyPath: string;
  /** Where the data comes from. A daemon that was started for another socket is ended, not adopted. */
  readonly sourceSocket: string;
  readonly virtualSizeBytes: number;
}

export interface DaemonTools {
  readonly exec: Exec;
  readonly clock: Clock;
  /** Runs the daemon as the unprivileged user without network; the copy and the source's socket must be that user's. */
  readonly confined: boolean;
}

const ADOPT_MS = 5_000;
const START_MS = 20_000;
/** A daemon that waits for a silent source does not answer. */
const QUIT_MS = 3_000;
const POLL_MS = 20;
const WEEK_S = 7 * 86_400;

/** The node that is the copy's file. */
export const FILE_NODE = 'file0';

const monitorPath = (spec: DaemonSpec): string =>
  join(spec.dir, `${createHash('sha256').update(spec.sourceSocket).digest('hex').slice(0, 12)}.qmp`);

/** The daemon that runs for this copy and source. Any other that has the copy open is ended, also one that is stuck. */
export async function adoptDaemon(spec: DaemonSpec, clock: Clock): Promise<Qmp | undefined> {
  const adopted = await connectQmp(monitorPath(spec), clock, ADOPT_MS).catch(() => undefined);
  if (!adopted) await killDaemon(spec.dir, clock);
  return adopted;
}

export async function startDaemon(spec: DaemonSpec, tools: DaemonTools): Promise<Qmp> {
  await rm(spec.dir, { recursive: true, force: true });
  await mkdir(spec.dir, { recursive: true, mode: 0o700 });
  const logFile = join(spec.dir, 'log');
  const confined = { fileBytes: Math.ceil(spec.virtualSizeBytes * 1.05) + (64 << 20), cpuSeconds: WEEK_S };
  if (tools.confined) {
    const { uid, gid } = await tools.exec.sandboxUser();
    await chown(spec.dir, uid, gid);
  }
  await tools.exec.launch('qemu-storage-daemon', daemonArgs(spec), {
    logFile,
    ...(tools.confined ? { confined } : {}),
  });
  return monitorOf(spec, tools.clock, logFile);
}

/** @returns arguments of qemu-storage-daemon: the copy's file and a monitor; the rest is added over the monitor. */
export function daemonArgs(spec: DaemonSpec): string[] {
  const file = { driver: 'file', filename: spec.copyPath, 'node-name': FILE_NODE, discard: 'unmap' };
  const monitor = `socket,id=qmp,path=${monitorPath(spec).replaceAll(',', ',,')},server=on,wait=off`;
  return ['--blockdev', JSON.stringify(file), '--chardev', monitor, '--monitor', 'chardev=qmp'];
}

async function monitorOf(spec: DaemonSpec, clock: Clock, logFile: string): Promise<Qmp> {
  const end = clock.monotonic() + START_MS;
  for (;;) {
    const qmp = await connectQmp(monitorPath(spec), clock, ADOPT_MS).catch(() => undefined);
    if (qmp) return qmp;
    const died = (await daemonPids(spec.dir)).length === 0;
    if (died || clock.monotonic() > end) throw await notStarted(spec, logFile, clock);
    await clock.sleep(POLL_MS);
  }
}

async function notStarted(spec: DaemonSpec, logFile: string, clock: Clock): Promise<ClusterError> {
  const said = (await readFile(logFile, 'utf8').catch(() => '')).trim().split('\n').at(-1)?.slice(0, 300) ?? '';
  await killDaemon(spec.dir, clock);
  const full = /No space left/.test(said);
  return new ClusterError(
    full ? 'DISK_FULL' : 'INTERNAL',
    `the storage daemon that fills ${spec.copyPath} did not start (${said || 'it said nothing'})`,
  );
}

/** Ends it in order: what it has written is flushed. Killed when it does not go. */
export async function quitDaemon(dir: string, qmp: Qmp | undefined, clock: Clock): Promise<void> {
  if (qmp && !qmp.gone) {
    void qmp.execute('quit').catch(() => undefined);
    const end = clock.monotonic() + QUIT_MS;
    while ((await daemonPids(dir)).length > 0 && clock.monotonic() < end) await clock.sleep(POLL_MS);
    qmp.close();
  }
  await killDaemon(dir, clock);
  await rm(dir, { recursive: true, force: true });
}

async function killDaemon(dir: string, clock: Clock): Promise<void> {
  for (let pids = await daemonPids(dir); pids.length > 0; pids = await daemonPids(dir)) {
    for (const pid of pids) kill(pid);
    await clock.sleep(POLL_MS);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // ended by itself meanwhile
  }
}

/**
 * Processes that were started with a monitor in this folder: the daemon and what confines it. Asked of the kernel instead
 * of a file with a number in it, which an agent that is killed at the wrong moment never writes, or another process inherits.
 */
export async function daemonPids(dir: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
    const argv = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    if (argv.includes('qemu-storage-daemon') && argv.some((a) => a.includes(`path=${dir.replaceAll(',', ',,')}/`)))
      found.push(Number(name));
  }
  return found;
}
