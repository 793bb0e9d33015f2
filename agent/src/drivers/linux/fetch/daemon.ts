/**
 * The qemu-storage-daemon of one fetch: a helper that outlives the agent and is found again by its monitor socket. Starts,
 * adopts and ends it; what it is told to do is fill.ts's.
 */
import { join } from 'node:path';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Helpers } from '../helpers.ts';
import { connectQmp, type Qmp } from './qmp.ts';

export interface DaemonSpec {
  /** Of the helper; at most 24 characters. */
  readonly name: string;
  /** Its folder. */
  readonly dir: string;
  /** The qcow2 that it fills. */
  readonly copyPath: string;
  readonly virtualSizeBytes: number;
}

export interface DaemonTools {
  readonly helpers: Helpers;
  readonly clock: Clock;
}

/** A daemon whose monitor does not answer in time is stuck, and no use. */
const MONITOR_MS = 5_000;
const GONE_MS = 10_000;
const POLL_MS = 20;
const MONTH_S = 30 * 86_400;

/** Where the copy is exported, for filling it and to guests. */
export const basePath = (spec: Pick<DaemonSpec, 'dir'>): string => join(spec.dir, 'base');

/** The node that is the copy's file. */
export const FILE_NODE = 'file0';

const monitorPath = (spec: DaemonSpec): string => join(spec.dir, 'qmp');

/** The daemon that runs for this copy. One that is stuck is ended, and so is whatever else has the copy open. */
export async function adoptDaemon(spec: DaemonSpec, tools: DaemonTools): Promise<Qmp | undefined> {
  const adopted = await connectQmp(monitorPath(spec), tools.clock, MONITOR_MS).catch(() => undefined);
  // stuck, so it hears no SIGTERM; all that it has written is in the file
  if (!adopted) await endDaemon(spec.name, undefined, tools, 'kill');
  return adopted;
}

/** Starts one, confined: it speaks with whoever holds the image. Its user owns the copy. DISK_FULL when there is no room even for a start. */
export async function startDaemon(spec: DaemonSpec, tools: DaemonTools): Promise<Qmp> {
  await tools.helpers.prepare(spec.name, true);
  // tables and rounding come on top of what the guest sees
  const fileBytes = Math.ceil(spec.virtualSizeBytes * 1.05) + 64 * 2 ** 20;
  const [program, args, socketPath] = ['qemu-storage-daemon', daemonArgs(spec), monitorPath(spec)];
  try {
    const confined = { fileBytes, cpuSeconds: MONTH_S };
    await tools.helpers.start({ name: spec.name, program, args, confined, socketPath });
    return await connectQmp(socketPath, tools.clock, MONITOR_MS);
  } catch (e) {
    await endDaemon(spec.name, undefined, tools);
    if (isClusterError(e) && /No space left/.test(e.message)) throw new ClusterError('DISK_FULL', e.message, e.meta);
    throw e;
  }
}

/** @returns arguments of qemu-storage-daemon: the copy's file and a monitor; the rest is added over the monitor. */
export function daemonArgs(spec: DaemonSpec): string[] {
  const file = { driver: 'file', filename: spec.copyPath, 'node-name': FILE_NODE, discard: 'unmap' };
  const monitor = `socket,id=qmp,path=${monitorPath(spec).replaceAll(',', ',,')},server=on,wait=off`;
  return ['--blockdev', JSON.stringify(file), '--chardev', monitor, '--monitor', 'chardev=qmp'];
}

/**
 * Ends it in order: what it has written is flushed; killed when it does not go. `kill`: for one that has nothing to flush.
 * It is gone afterwards, and so is its lock on the copy.
 */
export async function endDaemon(name: string, qmp: Qmp | undefined, tools: DaemonTools, how?: 'kill'): Promise<void> {
  qmp?.close();
  await tools.helpers.stop(name, how);
  const deadline = tools.clock.monotonic() + GONE_MS;
  while ((await tools.helpers.find(name)).length > 0) {
    if (tools.clock.monotonic() > deadline)
      throw new ClusterError('INTERNAL', `helper ${name} cannot be ended: its disk does not answer; look at the host`);
    await tools.clock.sleep(POLL_MS);
  }
}
