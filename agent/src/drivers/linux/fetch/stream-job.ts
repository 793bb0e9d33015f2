/**
 * Tells a storage daemon to fill the copy from the source, and follows it to the end. A lost source pauses QEMU's job
 * instead of failing it; it is resumed until the source is there again. Every step looks first at what is already so,
 * because an earlier agent may have got to any point.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import { FILE_NODE } from './daemon.ts';
import { QmpError, type Qmp } from './qmp.ts';

const JOB = 'fetch';
const SOURCE_NODE = 'source';
const COPY_NODE = 'copy';
const POLL_MS = 200;
const RETRY_MS = 400;
/** The connection, not what was said on it. */
const LOST = /Failed to connect|Failed to read|Unexpected end-of-file|Connection (refused|reset)|Broken pipe/;
const MAX_REFUSALS = 10;

export interface StreamTarget {
  readonly sourceSocket: string;
  readonly exportName: string;
  readonly clock: Clock;
}

interface JobInfo {
  readonly id: string;
  readonly status: string;
  readonly error?: string;
  readonly 'current-progress': number;
  readonly 'total-progress': number;
}
interface BlockJobInfo {
  readonly device: string;
  readonly 'io-status': 'ok' | 'failed' | 'nospace';
}

/** Resolves when all data is in the copy. DISK_FULL; CANCELLED; PEER_UNAVAILABLE when a source answers but does not have the image; QmpGone. */
export async function fillCopy(qmp: Qmp, target: StreamTarget, work: LongWork): Promise<void> {
  if (!(await findJob(qmp))) await startJob(qmp, target, work.signal);
  for (;;) {
    const job = await findJob(qmp);
    if (!job) throw new ClusterError('INTERNAL', 'the storage daemon lost its copy job');
    work.onProgress(job['current-progress'], job['total-progress']);
    if (job.status === 'concluded') return conclude(qmp, job);
    if (job.status === 'paused') await resume(qmp, target.clock, work.signal);
    await pause(target.clock, POLL_MS, work.signal);
  }
}

const findJob = async (qmp: Qmp): Promise<JobInfo | undefined> =>
  (await qmp.execute<JobInfo[]>('query-jobs')).find((j) => j.id === JOB);

async function startJob(qmp: Qmp, target: StreamTarget, signal: AbortSignal): Promise<void> {
  // QEMU 7.2 crashes in this query while a finished job has not been dismissed; here there is no job at all
  const nodes = await qmp.execute<{ 'node-name': string }[]>('query-named-block-nodes', { flat: true });
  const has = (name: string): boolean => nodes.some((n) => n['node-name'] === name);
  if (!has(SOURCE_NODE)) await addSource(qmp, target, signal);
  if (!has(COPY_NODE)) await qmp.execute('blockdev-add', copyNode());
  await qmp.execute('block-stream', {
    'job-id': JOB,
    device: COPY_NODE,
    'on-error': 'stop',
    // the result stays until it has been read, however long no agent runs
    'auto-dismiss': false,
  });
}

/** Waits for a first source: the daemon has to ask it for the size. */
async function addSource(qmp: Qmp, target: StreamTarget, signal: AbortSignal): Promise<void> {
  const node = {
    driver: 'nbd',
    'node-name': SOURCE_NODE,
    server: { type: 'unix', path: target.sourceSocket },
    export: target.exportName,
    'read-only': true,
  };
  for (let refusals = 0; ;) {
    try {
      return await orCancelled(qmp.execute<void>('blockdev-add', node), signal);
    } catch (e) {
      if (!(e instanceof QmpError)) throw e;
      if (!LOST.test(e.message) && ++refusals >= MAX_REFUSALS)
        throw new ClusterError('PEER_UNAVAILABLE', `the source does not serve the image (${e.message})`);
      await pause(target.clock, RETRY_MS, signal);
    }
  }
}

/**
 * The small L2 cache is what makes the copy a checkpoint: QEMU writes its tables of what is allocated when they fall out
 * of the cache, by default after 512 MiB; so, after 32 MiB, and a killed daemon loses no more than two of those.
 */
const copyNode = (): Record<string, unknown> => ({
  driver: 'qcow2',
  'node-name': COPY_NODE,
  file: FILE_NODE,
  backing: SOURCE_NODE,
  'l2-cache-entry-size': 4_096,
  'l2-cache-size': 8_192,
});

async function resume(qmp: Qmp, clock: Clock, signal: AbortSignal): Promise<void> {
  const jobs = await qmp.execute<BlockJobInfo[]>('query-block-jobs');
  const status = jobs.find((j) => j.device === JOB)?.['io-status'];
  if (status === 'nospace')
    throw new ClusterError('DISK_FULL', 'no space left on the disk for the copy of the image; free some or add a disk');
  await pause(clock, RETRY_MS, signal);
  await qmp.execute('block-job-resume', { device: JOB }).catch((e: unknown) => {
    if (!(e instanceof QmpError)) throw e; // not paused any more
  });
}

async function conclude(qmp: Qmp, job: JobInfo): Promise<void> {
  await qmp.execute('job-dismiss', { id: JOB });
  if (job.error === undefined) return;
  if (/No space left/.test(job.error))
    throw new ClusterError('DISK_FULL', 'no space left on the disk for the copy of the image; free some or add a disk');
  throw new ClusterError('INTERNAL', `the copy of the image could not be filled (${job.error})`);
}

const cancelled = (): ClusterError => new ClusterError('CANCELLED', 'the fetch of the image was cancelled');

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  await clock.sleep(ms, signal).catch(() => {
    throw cancelled();
  });
}

/** A command that waits for a source blocks the daemon's monitor; being cancelled must not wait for it. */
function orCancelled<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(cancelled());
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
