/**
 * Gets the hashes of an image's chunks from a host that has it, and keeps them beside the copy that fills. A host whose agent
 * is too old to give any may still be read from, as long as no guest rests on the copy: then the whole is checked at its end.
 */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { ChunkHashes } from '@berth/shared/disk/digest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { sizeOf, writeAtomic } from '../disks/files.ts';
import { mostListBytes, packHashes, unpackHashes } from '../disks/hash-list.ts';

export interface HashesWanted {
  readonly image: { readonly digest: string; readonly virtualSizeBytes: number };
  readonly copyPath: string;
  /** Leads to whoever is the source; undefined: to nobody. */
  readonly socketPath: string | undefined;
  /** Guests read from the copy, or are about to. */
  readonly guestsRest: () => Promise<boolean>;
  /** The source gave hashes that are not the image's, or none while guests need them. */
  readonly blame: (why: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** For the whole list; absent: as long as a slow network takes. */
  readonly listMs?: number;
}

const RETRY_MS = 500;
/** A source may have been lost in between; an agent that has none to give closes at once, each time. */
const TRIES = 3;
const LIST_MS = 30_000;
const SLOWEST_BYTES_PER_MS = 2 ** 20 / 1_000;

const listPath = (copyPath: string): string => `${copyPath}.hashes`;
const uncheckedPath = (copyPath: string): string => `${copyPath}.unchecked`;

/** Some of what the copy holds was never checked against a hash. */
export const isUnchecked = async (copyPath: string): Promise<boolean> =>
  (await sizeOf(uncheckedPath(copyPath))) !== undefined;

/** Packed, of a copy that fills; undefined when its parts cannot be vouched for. */
export async function keptHashes(copyPath: string): Promise<Buffer | undefined> {
  if (await isUnchecked(copyPath)) return undefined;
  return readFile(listPath(copyPath)).catch(() => undefined);
}

export async function removeHashes(copyPath: string): Promise<void> {
  for (const path of [listPath(copyPath), uncheckedPath(copyPath)]) await rm(path, { force: true });
}

/** Undefined: nobody gives any, and the copy is marked. @throws CANCELLED */
export async function hashesFor(w: HashesWanted): Promise<ChunkHashes | undefined> {
  const kept = await readFile(listPath(w.copyPath)).catch(() => undefined);
  const known = kept && unpackHashes(kept, w.image);
  if (known) return known;
  const earlier = await isUnchecked(w.copyPath);
  const given = await askFor(w);
  if (given) {
    await writeAtomic(listPath(w.copyPath), [{ offset: 0, bytes: packHashes(given) }], 0o600);
    return given;
  }
  // marked first, looked at again then; who makes a volume does it the other way round
  await writeFile(uncheckedPath(w.copyPath), '');
  // what an earlier run has marked holds parts that were never checked
  if (earlier || w.socketPath === undefined || !(await w.guestsRest())) return undefined;
  await rm(uncheckedPath(w.copyPath), { force: true });
  return hashesFor(w);
}

/** Of one source after the other, for as long as guests need them. @throws CANCELLED */
async function askFor(w: HashesWanted): Promise<ChunkHashes | undefined> {
  for (let tries = 1; w.socketPath !== undefined; tries++) {
    const { got, late } = await ask(w, w.socketPath);
    const hashes = got && unpackHashes(got, w.image);
    if (hashes) return hashes;
    if (w.signal.aborted) throw new ClusterError('CANCELLED', 'the fetch of the image was cancelled');
    const rest = await w.guestsRest();
    if (late) w.blame('does not give the hashes of the image in time');
    else if (got) w.blame('gives wrong hashes of the image');
    else if (rest && tries % TRIES === 0) w.blame('gives no hashes of the image');
    if (tries >= TRIES && !rest) break;
    await w.clock.sleep(RETRY_MS, w.signal).catch(() => undefined);
  }
  return undefined;
}

interface Asked {
  /** Undefined: nothing, or too much. */
  readonly got: Buffer | undefined;
  /** It did not come in time, however it came. */
  readonly late: boolean;
}

/** All that comes until the end. */
function ask({ image, signal, clock, listMs }: HashesWanted, socketPath: string): Promise<Asked> {
  const mostBytes = mostListBytes(image.virtualSizeBytes);
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let size = 0;
    let late = false;
    const socket = connect({ path: socketPath });
    let timer: Timer | undefined;
    const tooLate = (): void => {
      late = true;
      socket.destroy();
    };
    const onAbort = (): void => void socket.destroy();
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    socket.on('data', (d: Buffer) => {
      // not before: the tunnel holds a connection until there is a source
      timer ??= clock.after(listMs ?? LIST_MS + mostBytes / SLOWEST_BYTES_PER_MS, tooLate);
      parts.push(d);
      size += d.length;
      if (size > mostBytes) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      timer?.cancel();
      signal.removeEventListener('abort', onAbort);
      resolve({ got: !late && size > 0 && size <= mostBytes ? Buffer.concat(parts) : undefined, late });
    });
  });
}
