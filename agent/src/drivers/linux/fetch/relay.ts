/**
 * Between the storage daemon and the source of one fetch: an NBD server that the daemon reads from for as long as the fetch
 * takes, whoever the source is just now. What does not fit its hash never gets to the daemon. A read that no source answers
 * fails after some seconds: QEMU then pauses the guest that wants it, which sees no error and goes on later (volume/bases.ts).
 */
import { CHUNK_BYTES, type ChunkHashes } from '@berth/shared/disk/digest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { IMAGE_EXPORT } from '../disks/serve.ts';
import { Chunks } from './chunks.ts';
import { serveNbd, type NbdServer } from './nbd-server.ts';
import { openPassOn, type PassOn } from './pass-on.ts';
import { SourceLink } from './source-link.ts';

export interface RelayOptions {
  readonly image: { readonly digest: string; readonly virtualSizeBytes: number };
  /** Where the daemon finds it. */
  readonly socketPath: string;
  readonly owner: { readonly uid: number; readonly gid: number };
  /** UNIX socket that leads to the source. */
  readonly sourceSocket: string;
  /** Resolves when it is known whether there are any. */
  readonly hashes: Promise<ChunkHashes | undefined>;
  readonly blame: (why: string, reason: 'DIGEST_MISMATCH' | 'PEER_UNAVAILABLE') => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** Who is given parts of what comes, and must know when one was wrong. */
  readonly passOn: { readonly socketPath: string; readonly copySocket: string };
}

export interface Relay {
  readonly chunks: Promise<Chunks>;
  readonly passOn: PassOn;
  /** Somebody serves it now, or need not any more. */
  served(): boolean;
  /** All of it is in the copy: whoever gave it is let go, and who reads here is given it from there. */
  finish(): void;
  /** But for those that it passes on to. */
  close(): Promise<void>;
}

/** A guest is not kept waiting longer for a block while nothing comes; paused, it loses no patience. */
const STARVED_MS = 5_000;
/** Even if something comes: drivers of older disks give up after 30 s. */
const SLOW_MS = 20_000;
const LOOK_MS = 500;

export async function openRelay(o: RelayOptions): Promise<Relay> {
  const { image, clock, signal, log } = o;
  const sizeBytes = image.virtualSizeBytes;
  const blame = (why: string, reason: 'DIGEST_MISMATCH' | 'PEER_UNAVAILABLE' = 'PEER_UNAVAILABLE'): void => {
    log.warn({ digest: image.digest, why }, 'the source of an image was turned away');
    o.blame(why, reason);
    link.drop();
  };
  const link = new SourceLink({
    ...{ socketPath: o.sourceSocket, exportName: IMAGE_EXPORT, sizeBytes, clock, signal, blame },
  });
  const chunks = o.hashes.then(
    (hashes) =>
      new Chunks({
        ...{ link, sizeBytes, hashes },
        onPassedWrong: () => passOn.cut(),
        onWrong: (index) =>
          blame(`gives something else than the image (chunk ${index} does not fit its hash)`, 'DIGEST_MISMATCH'),
      }),
  );
  chunks.catch(() => undefined);
  const impatient = { clock, signal, heardAtMs: () => link.heardAtMs };
  const read = (offset: number, length: number): Promise<Buffer> =>
    orStarved(readFrom(chunks, offset, length), impatient);
  // who reads from this host may do so for longer than the fetch takes
  const patiently = <T>(data: Promise<T>): Promise<T> =>
    orStarved(data, { ...impatient, signal: new AbortController().signal });
  const server: NbdServer = await serveNbd({ socketPath: o.socketPath, owner: o.owner, sizeBytes, read });
  const owner = { uid: process.getuid!(), gid: process.getgid!() };
  const passOn = await openPassOn({ ...o.passOn, ...{ owner, sizeBytes, chunks, clock, patiently } });
  let finished = false;
  return {
    ...{ chunks, passOn },
    served: () => finished || link.connected,
    finish: () => {
      finished = true;
      link.close();
      chunks.then(
        (all) => all.allCopied(),
        () => undefined,
      );
    },
    close: async () => {
      link.close();
      await server.close();
    },
  };
}

async function readFrom(chunks: Promise<Chunks>, offset: number, length: number): Promise<Buffer> {
  const all = await chunks;
  const parts: Promise<Buffer>[] = [];
  for (let at = offset; at < offset + length;) {
    const index = Math.floor(at / CHUNK_BYTES);
    const from = at - index * CHUNK_BYTES;
    const to = Math.min(CHUNK_BYTES, offset + length - index * CHUNK_BYTES);
    parts.push(all.get(index).then((chunk) => chunk.subarray(from, to)));
    at = index * CHUNK_BYTES + to;
  }
  const [only, ...more] = await Promise.all(parts);
  return more.length === 0 && only ? only : Buffer.concat([only!, ...more]);
}

interface Impatient {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  heardAtMs(): number;
}

/** The chunk goes on being read: whoever asks again may find it. */
async function orStarved<T>(data: Promise<T>, o: Impatient): Promise<T> {
  const since = o.clock.monotonic();
  const over = new AbortController();
  const starved = async (): Promise<never> => {
    for (;;) {
      await o.clock.sleep(LOOK_MS, over.signal);
      const now = o.clock.monotonic();
      const silent = now - Math.max(since, o.heardAtMs());
      if (o.signal.aborted || silent >= STARVED_MS || now - since >= SLOW_MS)
        throw new ClusterError('PEER_UNAVAILABLE', 'nobody gives this part of the image now');
    }
  };
  const waiting = starved();
  waiting.catch(() => undefined);
  try {
    return await Promise.race([data, waiting]);
  } finally {
    over.abort();
  }
}
