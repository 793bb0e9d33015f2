/**
 * Fills the copy: gives a storage daemon the relay behind it, has it export the copy to guests, and has it read chunk after
 * chunk, several at once, into the copy; the bytes never pass through the agent's end of the export. Chunks that a guest has
 * just read come first: they are here already. A lost source makes chunks fail, which are asked for again until there is one.
 * Every step looks first at what is already so, because an earlier agent may have got to any point; what is in the copy
 * already costs nothing.
 */
import { CHUNK_BYTES } from '@berth/shared/disk/digest.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import { connectNbd, type NbdClient } from '../disks/nbd-client.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';
import { IMAGE_EXPORT } from '../disks/serve.ts';
import { openSocket } from '../take-file.ts';
import type { Chunks } from './chunks.ts';
import { FILE_NODE } from './daemon.ts';
import { QmpGone, type Qmp } from './qmp.ts';

const SOURCE_NODE = 'source';
const COPY_NODE = 'copy';
const GUEST_NODE = 'guests';
const FILL_EXPORT = 'fill';
/** What guests read. Reading it copies; nobody can write to it, nor to the one that fills. */
export const BASE_EXPORT = 'base';
/** What pass-on.ts reads for other hosts of what is here already. */
const RELAY_EXPORT = 'relay';
/** Of the copy: qemu-img's default. */
const CLUSTER_BYTES = 65_536;
const RETRY_MS = 400;
const IN_FLIGHT = 3;
/** A source may be away for long. */
const PATIENCE_MS = 24 * 3_600_000;
/** An agent that is started again is back before guests that read now are paused. */
const RECONNECT_S = 15;

interface Waiting {
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** The daemon has the copy open, with the relay behind it, and serves it to guests. @throws QmpGone */
export async function openCopy(qmp: Qmp, sockets: { readonly relay: string; readonly base: string }): Promise<void> {
  const nodes = await qmp.execute<{ 'node-name': string }[]>('query-named-block-nodes', { flat: true });
  const has = (name: string): boolean => nodes.some((n) => n['node-name'] === name);
  if (!has(SOURCE_NODE)) await qmp.execute('blockdev-add', sourceNode(sockets.relay));
  if (!has(COPY_NODE)) await qmp.execute('blockdev-add', copyNode());
  const guests = { driver: 'copy-on-read', 'node-name': GUEST_NODE, file: COPY_NODE };
  if (!has(GUEST_NODE)) await qmp.execute('blockdev-add', guests);
  await openExports(qmp, sockets.base);
}

const sourceNode = (socketPath: string): Record<string, unknown> => ({
  driver: 'nbd',
  'node-name': SOURCE_NODE,
  server: { type: 'unix', path: socketPath },
  export: '',
  'read-only': true,
  'reconnect-delay': RECONNECT_S,
});

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

async function openExports(qmp: Qmp, path: string): Promise<void> {
  const exports = await qmp.execute<{ id: string }[]>('query-block-exports');
  const has = (id: string): boolean => exports.some((e) => e.id === id);
  await qmp.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } }).catch((e: unknown) => {
    if (e instanceof QmpGone || !/already running/.test(String(e))) throw e;
  });
  for (const [id, name, node] of [
    [FILL_EXPORT, FILL_EXPORT, COPY_NODE],
    [BASE_EXPORT, BASE_EXPORT, GUEST_NODE],
    [RELAY_EXPORT, IMAGE_EXPORT, GUEST_NODE],
  ] as const)
    if (!has(id)) await qmp.execute('block-export-add', { type: 'nbd', id, name, 'node-name': node, writable: false });
  // QEMU runs as a user of its own; what it can do here is read what every guest of this image may read
  await openSocket(path);
}

/**
 * Resolves when all that is not zeros is in the copy and flushed.
 * @param basePath UNIX socket on which the daemon exports the copy. @throws DISK_FULL, CANCELLED, QmpGone
 */
export async function fillCopy(
  qmp: Qmp,
  basePath: string,
  chunks: Promise<Chunks>,
  clock: Clock,
  work: LongWork,
): Promise<void> {
  const { signal } = work;
  try {
    const nbd = await connectNbd({
      ...{ socketPath: basePath, exportName: FILL_EXPORT, clock, signal, timeoutMs: PATIENCE_MS },
    });
    try {
      await fill(nbd, await chunks, { clock, signal }, work);
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

async function fill(nbd: NbdClient, chunks: Chunks, waiting: Waiting, work: LongWork): Promise<void> {
  const total = nbd.sizeBytes;
  const rest = chunks.dataChunks();
  const begun = new Set<number>();
  let reached = 0;
  const next = async (): Promise<number | undefined> => {
    for (let fresh = chunks.nextFresh(); fresh !== undefined; fresh = chunks.nextFresh())
      if (!begun.has(fresh)) return fresh;
    for (let n = await rest.next(); n.done !== true; n = await rest.next()) {
      reached = Math.min(total, n.value * CHUNK_BYTES);
      if (!begun.has(n.value)) return n.value;
    }
    return undefined;
  };
  const worker = async (): Promise<void> => {
    for (let index = await next(); index !== undefined; index = await next()) {
      begun.add(index);
      await one(nbd, chunks, index, waiting);
      work.onProgress(reached, total);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  await insist(nbd, waiting, () => nbd.flush());
  work.onProgress(total, total);
}

async function one(nbd: NbdClient, chunks: Chunks, index: number, waiting: Waiting): Promise<void> {
  const offset = index * CHUNK_BYTES;
  const end = Math.min(nbd.sizeBytes, offset + CHUNK_BYTES);
  const copy = (from: number, to: number) => insist(nbd, waiting, () => nbd.cache(from, to - from));
  chunks.inBackground(index, true);
  try {
    // the first cluster waits for the chunk; then it is known what of the rest is zeros, which the copy is without
    await copy(offset, Math.min(end, offset + CLUSTER_BYTES));
    for (const { from, to } of clusters(chunks.extentsOf(index), offset, end)) await copy(from, to);
    chunks.isCopied(index);
  } finally {
    chunks.inBackground(index, false);
  }
}

/** Those in which there is data, in runs. */
function clusters(
  extents: readonly NbdExtent[] | undefined,
  offset: number,
  end: number,
): readonly { readonly from: number; readonly to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const e of extents ?? [{ offset, length: end - offset, zero: false }]) {
    if (e.zero) continue;
    const from = Math.floor(e.offset / CLUSTER_BYTES) * CLUSTER_BYTES;
    const to = Math.min(end, Math.ceil((e.offset + e.length) / CLUSTER_BYTES) * CLUSTER_BYTES);
    const last = runs.at(-1);
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else runs.push({ from, to });
  }
  return runs;
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
