/**
 * Gives other hosts what this one is copying: pieces of a chunk as soon as they come, from the agent's memory, and what is in
 * the copy already from the daemon that fills it. A piece adds so much to the way of an image along a chain of hosts as it takes
 * on one link, so small pieces are what makes long chains worth it. Checks nothing itself: who reads has the hashes too.
 */
import { CHUNK_BYTES } from '@berth/shared/disk/digest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { connectNbd, type NbdClient } from '../disks/nbd-client.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';
import { IMAGE_EXPORT } from '../disks/serve.ts';
import type { Chunks } from './chunks.ts';
import { serveNbd } from './nbd-server.ts';

export interface PassOnOptions {
  readonly socketPath: string;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly sizeBytes: number;
  readonly chunks: Promise<Chunks>;
  /** UNIX socket on which the copy is exported. */
  readonly copySocket: string;
  readonly clock: Clock;
  /** Fails what nobody gives for too long. */
  readonly patiently: <T>(data: Promise<T>) => Promise<T>;
}

export interface PassOn {
  readonly socketPath: string;
  /** A part of a chunk was wrong: all who read begin anew, and throw away what they have of chunks that are not whole. */
  cut(): void;
  /** The image is whole: whoever still reads goes on, from whatever serves it; it closes when nobody does, and says so. */
  retire(socket: () => Promise<string>, closed?: () => void): void;
  close(): Promise<void>;
}

/** Between the end of what fills the copy, and the start of what serves it while it is checked. */
const RETRY_MS = 50;
const PATIENCE_MS = 10_000;

interface Span {
  readonly index: number;
  readonly from: number;
  readonly to: number;
}

export async function openPassOn(o: PassOnOptions): Promise<PassOn> {
  const copy = new CopyReader(o);
  let retired = false;
  let told: (() => void) | undefined;
  const close = async (): Promise<void> => {
    copy.close();
    await server.close();
    told?.();
  };
  const closeWhenRetired = (): void => void (retired && close().catch(() => undefined));
  const server = await serveNbd({
    ...{ socketPath: o.socketPath, owner: o.owner, sizeBytes: o.sizeBytes },
    read: (offset, length) => o.patiently(read(o, copy, offset, length)),
    status: (offset, length) => o.patiently(status(o, copy, offset, length)),
    onIdle: closeWhenRetired,
  });
  return {
    socketPath: o.socketPath,
    cut: () => server.cut(),
    retire(socket, closed) {
      retired = true;
      told = closed;
      copy.moveTo(socket);
      if (server.readers() === 0) closeWhenRetired();
    },
    close,
  };
}

async function read(o: PassOnOptions, copy: CopyReader, offset: number, length: number): Promise<Buffer> {
  const chunks = await o.chunks;
  const parts = spans(offset, length).map(({ index, from, to }) => {
    const arriving = chunks.arriving(index);
    return arriving ? arriving.part(from, to) : copy.read(index * CHUNK_BYTES + from, to - from);
  });
  const [only, ...more] = await Promise.all(parts);
  return more.length === 0 && only ? only : Buffer.concat([only!, ...more]);
}

/** Of the first chunk only. */
async function status(
  o: PassOnOptions,
  copy: CopyReader,
  offset: number,
  length: number,
): Promise<readonly NbdExtent[]> {
  const [first] = spans(offset, length);
  const { index, from, to } = first!;
  const arriving = (await o.chunks).arriving(index);
  if (!arriving) return copy.status(offset, to - from);
  return within(await arriving.extents(), offset, offset + to - from);
}

/** What of them lies between. */
function within(extents: readonly NbdExtent[], first: number, last: number): readonly NbdExtent[] {
  return extents.flatMap((e) => {
    const [offset, end] = [Math.max(e.offset, first), Math.min(e.offset + e.length, last)];
    return end > offset ? [{ offset, length: end - offset, zero: e.zero }] : [];
  });
}

function spans(offset: number, length: number): readonly Span[] {
  const found: Span[] = [];
  for (let at = offset; at < offset + length;) {
    const index = Math.floor(at / CHUNK_BYTES);
    const start = index * CHUNK_BYTES;
    const to = Math.min(CHUNK_BYTES, offset + length - start);
    found.push({ index, from: at - start, to });
    at = start + to;
  }
  return found;
}

/** Connects when it is needed: who exports the copy changes when it is full, and when it is whole. */
class CopyReader {
  private nbd: Promise<NbdClient> | undefined;
  private socket: () => Promise<string>;
  private readonly over = new AbortController();

  constructor(private readonly o: Pick<PassOnOptions, 'copySocket' | 'clock'>) {
    this.socket = async () => o.copySocket;
  }

  moveTo(socket: () => Promise<string>): void {
    this.socket = socket;
    this.drop();
  }

  read(offset: number, length: number): Promise<Buffer> {
    return this.insist((nbd) => nbd.read(offset, length));
  }

  status(offset: number, length: number): Promise<readonly NbdExtent[]> {
    return this.insist((nbd) => nbd.blockStatus(offset, length));
  }

  close(): void {
    this.over.abort();
    this.drop();
  }

  private drop(): void {
    void this.nbd?.then((nbd) => nbd.close()).catch(() => undefined);
    this.nbd = undefined;
  }

  private async insist<T>(ask: (nbd: NbdClient) => Promise<T>): Promise<T> {
    const { clock } = this.o;
    for (const deadline = clock.monotonic() + PATIENCE_MS; ;) {
      const nbd = await this.connected().catch(() => undefined);
      try {
        if (nbd) return await ask(nbd);
      } catch (e) {
        if (!nbd?.ended || clock.monotonic() > deadline) throw e;
      }
      if (clock.monotonic() > deadline)
        throw new ClusterError('PEER_UNAVAILABLE', 'nobody serves this copy of the image now');
      await clock.sleep(RETRY_MS, this.over.signal);
    }
  }

  private async connected(): Promise<NbdClient> {
    const last = this.nbd;
    const before = await last?.catch(() => undefined);
    if (before && !before.ended) return before;
    // another request has begun a new one meanwhile; of two, nobody would ever close one
    if (this.nbd !== last) return this.connected();
    const signal = this.over.signal;
    this.nbd = this.socket().then((socketPath) =>
      connectNbd({ socketPath, exportName: IMAGE_EXPORT, clock: this.o.clock, signal }),
    );
    return this.nbd;
  }
}
