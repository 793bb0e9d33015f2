/**
 * The file of a volume as it comes from another host, over as many connections as it takes: from the byte on at which the one before
 * broke off. Where it is written, and when it is a volume, is receives.ts's.
 */
import type { TLSSocket } from 'node:tls';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { VolumeFile } from '../drivers/volume-work.ts';
import { dialPeer, type PeerSource } from '../peer/dial.ts';
import type { PeerIdentity } from '../peer/identity.ts';
import { PieceHash } from '../peer/piece-hash.ts';
import { FROM_BEGINNING, type GoOnFrom } from '../peer/ticket-line.ts';
import { receivedVolume, type ReceivedVolume } from '../peer/volume-frames.ts';

export interface IncomingDeps {
  readonly identity: PeerIdentity;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Asked for anew for each connection. */
  readonly source: () => Promise<PeerSource>;
}

/** Connections one after the other that bring nothing. */
const MOST_TRIES = 20;
/** Files that came whole, and were not what was sent: somebody writes to it there, or this host's disk does not keep what it gets. */
const MOST_MISMATCHES = 3;
const CONNECT_MS = 10_000;
const SILENT_MS = 30_000;

export class Incoming {
  private tries = 0;
  private mismatches = 0;
  private socket: TLSSocket | undefined;

  constructor(private readonly deps: IncomingDeps) {}

  /** A new connection, in place of the one before. @throws PEER_UNAVAILABLE, as its pieces */
  async open(from: GoOnFrom): Promise<ReceivedVolume> {
    this.close();
    const { identity, clock, signal, source } = this.deps;
    signal.throwIfAborted();
    const options = { identity, clock, timeoutMs: CONNECT_MS, signal, stream: 'volume', from } as const;
    const socket = await dialPeer(await source(), options);
    this.socket = socket;
    const onAbort = (): void => void socket.destroy();
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', onAbort));
    const volume = await receivedVolume(socket, clock, SILENT_MS);
    return { ...volume, pieces: () => this.counted(volume.pieces()) };
  }

  /** Ends the connection. */
  close(): void {
    this.socket?.destroy();
  }

  /** Runs `fn` until nothing breaks off in it any more. @throws PEER_UNAVAILABLE, DIGEST_MISMATCH after some tries */
  async persist<T>(fn: () => Promise<T>): Promise<T> {
    for (;;) {
      this.tries++;
      try {
        return await fn();
      } catch (e) {
        const again = isClusterError(e, 'PEER_UNAVAILABLE')
          ? this.tries < MOST_TRIES
          : isClusterError(e, 'DIGEST_MISMATCH') && ++this.mismatches < MOST_MISMATCHES;
        if (!again || this.deps.signal.aborted) throw e;
      }
    }
  }

  /** As one file that does not break off, for what writes it in one go. @throws DIGEST_MISMATCH: it is written to meanwhile */
  async file(): Promise<VolumeFile> {
    const first = await this.open(FROM_BEGINNING);
    const { fileBytes, allocatedBytes } = first;
    return { fileBytes, allocatedBytes, pieces: () => this.joined(first) };
  }

  private async *joined(first: ReceivedVolume): AsyncGenerator<Piece> {
    const hash = new PieceHash();
    let at = 0;
    let now: ReceivedVolume | undefined = first;
    for (;;) {
      // ends when nothing comes in so many tries
      now ??= await this.persist(() => this.open({ offset: at, origin: first.origin }));
      if (now.offset !== at || now.fileBytes !== first.fileBytes) throw changed();
      try {
        for await (const piece of now.pieces()) {
          at += lengthOf(piece);
          await hash.add(piece);
          yield piece;
        }
        break;
      } catch (e) {
        if (!isClusterError(e, 'PEER_UNAVAILABLE') || ++this.tries >= MOST_TRIES) throw e;
        now = undefined;
      }
    }
    if (hash.digest().toString('hex') !== now.sha256()) throw changed();
  }

  private async *counted(pieces: AsyncIterable<Piece>): AsyncGenerator<Piece> {
    for await (const piece of pieces) {
      this.tries = 0;
      yield piece;
    }
  }
}

const changed = (): ClusterError =>
  new ClusterError('DIGEST_MISMATCH', 'the volume was written to on its host while it came from there');
