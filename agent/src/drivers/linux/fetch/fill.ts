/**
 * Fills the copy: gives a storage daemon the source behind it, asks the daemon's export of both what is not zeros, and has it
 * copy just that, several pieces at once; the bytes never pass through the agent's end of the export. A lost source makes
 * pieces fail, which are asked for again until there is one. Every step looks first at what is already so, because an
 * earlier agent may have got to any point; what is in the copy already costs nothing.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import { connectNbd, type NbdClient } from '../disks/nbd-client.ts';
import { FILE_NODE } from './daemon.ts';
import { QmpError, QmpGone, type Qmp } from './qmp.ts';

const SOURCE_NODE = 'source';
const COPY_NODE = 'copy';
const EXPORT = 'copy';
const RETRY_MS = 400;
/** The connection, not what was said on it. */
const LOST = /Failed to connect|Failed to read|Unexpected end-of-file|Connection (refused|reset)|Broken pipe/;
const MAX_REFUSALS = 10;
/** Enough under way to hide the way there and back, and still little to lose. */
const PIECE_BYTES = 2 * 2 ** 20;
const IN_FLIGHT = 8;
/** A source may be away for long. */
const PATIENCE_MS = 24 * 3_600_000;

export interface Source {
  readonly socketPath: string;
  readonly exportName: string;
}

interface Waiting {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Waits for a first source: the daemon has to ask it for the size, and hears nothing else meanwhile. Then the daemon has the
 * copy open, with the source behind it. CANCELLED; PEER_UNAVAILABLE when a source answers but does not have the image; QmpGone.
 */
export async function connectSource(qmp: Qmp, source: Source, waiting: Waiting): Promise<void> {
  const nodes = await qmp.execute<{ 'node-name': string }[]>('query-named-block-nodes', { flat: true });
  const has = (name: string): boolean => nodes.some((n) => n['node-name'] === name);
  if (!has(SOURCE_NODE)) await addSource(qmp, source, waiting);
  if (!has(COPY_NODE)) await qmp.execute('blockdev-add', copyNode());
}

async function addSource(qmp: Qmp, source: Source, { clock, signal }: Waiting): Promise<void> {
  const node = {
    driver: 'nbd',
    'node-name': SOURCE_NODE,
    server: { type: 'unix', path: source.socketPath },
    export: source.exportName,
    'read-only': true,
  };
  for (let refusals = 0; ;) {
    try {
      return await orCancelled(qmp.execute<void>('blockdev-add', node), signal);
    } catch (e) {
      if (!(e instanceof QmpError)) throw e;
      if (!LOST.test(e.message) && ++refusals >= MAX_REFUSALS)
        throw new ClusterError('PEER_UNAVAILABLE', `the source does not serve the image (${e.message})`);
      await pause(clock, RETRY_MS, signal);
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

/**
 * Resolves when all that is not zeros is in the copy and flushed.
 * @param exportPath UNIX socket on which the daemon exports the copy. @throws DISK_FULL, CANCELLED, QmpGone
 */
export async function fillCopy(qmp: Qmp, exportPath: string, clock: Clock, work: LongWork): Promise<void> {
  await openExport(qmp, exportPath);
  const { signal } = work;
  try {
    const nbd = await connectNbd({ socketPath: exportPath, exportName: EXPORT, clock, signal, timeoutMs: PATIENCE_MS });
    try {
      await fill(nbd, { clock, signal }, work);
    } finally {
      nbd.close();
    }
  } catch (e) {
    if (signal.aborted) throw cancelled();
    if (isClusterError(e, 'DISK_FULL')) throw diskFull();
    // the end of the export is seen first; whether it was the daemon's end its monitor tells
    await qmp.execute('query-block-exports');
    throw e;
  }
}

async function openExport(qmp: Qmp, path: string): Promise<void> {
  const exports = await qmp.execute<{ id: string }[]>('query-block-exports');
  if (exports.some((e) => e.id === EXPORT)) return;
  await qmp.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } }).catch((e: unknown) => {
    if (e instanceof QmpGone || !/already running/.test(String(e))) throw e;
  });
  const what = { type: 'nbd', id: EXPORT, name: EXPORT, 'node-name': COPY_NODE };
  // writable: copying is writing
  await qmp.execute('block-export-add', { ...what, writable: true });
}

async function fill(nbd: NbdClient, waiting: Waiting, work: LongWork): Promise<void> {
  const pieces = dataPieces(nbd, waiting);
  let done = 0;
  const worker = async (): Promise<void> => {
    for (;;) {
      const next = await pieces.next();
      if (next.done === true) return;
      const { offset, length } = next.value;
      await insist(nbd, waiting, () => nbd.cache(offset, length));
      done = Math.max(done, offset + length);
      work.onProgress(done, nbd.sizeBytes);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  await nbd.flush();
  work.onProgress(nbd.sizeBytes, nbd.sizeBytes);
}

interface Piece {
  readonly offset: number;
  readonly length: number;
}

/** What is not zeros, in order, in pieces. */
async function* dataPieces(nbd: NbdClient, waiting: Waiting): AsyncGenerator<Piece, undefined> {
  for (let from = 0; from < nbd.sizeBytes;) {
    const [start, rest] = [from, nbd.sizeBytes - from];
    for (const extent of await insist(nbd, waiting, () => nbd.blockStatus(start, rest))) {
      from = extent.offset + extent.length;
      for (let at = extent.offset; !extent.zero && at < from; at += PIECE_BYTES)
        yield { offset: at, length: Math.min(PIECE_BYTES, from - at) };
    }
  }
  return undefined;
}

/** Again and again while the daemon answers: its source comes and goes. */
async function insist<T>(nbd: NbdClient, { clock, signal }: Waiting, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (e) {
      if (nbd.ended || isClusterError(e, 'DISK_FULL')) throw e;
      await pause(clock, RETRY_MS, signal);
    }
  }
}

const cancelled = (): ClusterError => new ClusterError('CANCELLED', 'the fetch of the image was cancelled');
const diskFull = (): ClusterError =>
  new ClusterError('DISK_FULL', 'no space left on the disk for the copy of the image; free some or add a disk');

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
