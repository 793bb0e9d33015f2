/**
 * The connection to whoever serves the image, over the tunnel's socket: comes and goes, while pieces that were asked for
 * stay asked for. What guests wait for goes first. Believes nothing; chunks.ts checks what comes.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { connectNbd, type NbdClient } from '../disks/nbd-client.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';

export interface SourceLinkOptions {
  readonly socketPath: string;
  readonly exportName: string;
  readonly sizeBytes: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The present source does not serve the image. */
  readonly blame: (why: string) => void;
}

interface Piece {
  readonly run: (nbd: NbdClient) => Promise<void>;
  readonly reject: (e: Error) => void;
}

/** Enough under way to hide the way there and back, and little for a guest to wait behind. */
const IN_FLIGHT = 4;
const RETRY_MS = 200;
/**
 * A source that copies the image itself says so of what it is waiting for; it is believed so often in a row, for as long as it
 * takes to find another source there.
 */
const PATIENT_TRIES = 8;
const AGAIN_MS = 1_000;
/** What was said on the connection, not its end. */
const REFUSED = /the server refuses|no NBD server|too old|does not tell|absurd size|garbage/;
/** The tunnel holds a connection for as long as there is no source, and cuts off one that is silent. */
const PATIENCE_MS = 24 * 3_600_000;

export class SourceLink {
  /** When something last came, on the monotonic clock. */
  heardAtMs: number;
  private readonly urgent: Piece[] = [];
  private readonly later: Piece[] = [];
  private inFlight = 0;
  private nbd: NbdClient | undefined;
  private connecting = false;
  private failures = 0;

  constructor(private readonly o: SourceLinkOptions) {
    this.heardAtMs = o.clock.monotonic();
    o.signal.addEventListener('abort', () => this.close(), { once: true });
  }

  get connected(): boolean {
    return this.nbd !== undefined && !this.nbd.ended;
  }

  read(offset: number, length: number, urgent: boolean): Promise<Buffer> {
    return this.ask((nbd) => nbd.read(offset, length), urgent);
  }

  blockStatus(offset: number, length: number, urgent: boolean): Promise<readonly NbdExtent[]> {
    return this.ask((nbd) => nbd.blockStatus(offset, length), urgent);
  }

  /** The source was blamed: whatever is asked for is asked of the next. */
  drop(): void {
    this.nbd?.close();
  }

  close(): void {
    this.nbd?.close();
    const gone = new ClusterError('CANCELLED', 'the fetch of the image has ended');
    for (const p of [...this.urgent.splice(0), ...this.later.splice(0)]) p.reject(gone);
  }

  private ask<T>(what: (nbd: NbdClient) => Promise<T>, urgent: boolean): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.o.signal.aborted) return reject(new ClusterError('CANCELLED', 'the fetch of the image has ended'));
      const piece: Piece = { run: async (nbd) => resolve(await what(nbd)), reject };
      (urgent ? this.urgent : this.later).push(piece);
      this.pump();
    });
  }

  private pump(): void {
    if (this.o.signal.aborted) return;
    if (!this.connected) return this.connect();
    while (this.inFlight < IN_FLIGHT) {
      const urgent = this.urgent.shift();
      const piece = urgent ?? this.later.shift();
      if (!piece) return;
      void this.run(piece, urgent !== undefined, this.nbd!);
    }
  }

  private async run(piece: Piece, urgent: boolean, nbd: NbdClient): Promise<void> {
    this.inFlight++;
    try {
      await piece.run(nbd);
      this.heardAtMs = this.o.clock.monotonic();
      this.failures = 0;
    } catch (e) {
      if (!nbd.ended && ++this.failures >= PATIENT_TRIES)
        this.turnAway(nbd, `does not give what it has (${(e as Error).message})`);
      else if (!nbd.ended) await this.o.clock.sleep(AGAIN_MS, this.o.signal).catch(() => undefined);
      if (this.o.signal.aborted) piece.reject(e as Error);
      else (urgent ? this.urgent : this.later).unshift(piece);
    } finally {
      this.inFlight--;
      this.pump();
    }
  }

  private turnAway(nbd: NbdClient, why: string): void {
    this.failures = 0;
    nbd.close();
    this.o.blame(why);
  }

  private connect(): void {
    if (this.connecting) return;
    this.connecting = true;
    void this.connectOnce()
      .then((again) => (again ? this.o.clock.sleep(RETRY_MS, this.o.signal) : undefined))
      .catch(() => undefined)
      .finally(() => {
        this.connecting = false;
        if (this.urgent.length + this.later.length > 0) this.pump();
      });
  }

  /** True when it failed and should be tried again a little later. */
  private async connectOnce(): Promise<boolean> {
    const { socketPath, exportName, sizeBytes, clock, signal } = this.o;
    try {
      const nbd = await connectNbd({ socketPath, exportName, clock, signal, timeoutMs: PATIENCE_MS });
      if (nbd.sizeBytes !== sizeBytes) {
        this.turnAway(nbd, `serves a disk of ${nbd.sizeBytes} bytes instead of ${sizeBytes}`);
        return true;
      }
      this.nbd = nbd;
      this.heardAtMs = clock.monotonic();
      return false;
    } catch (e) {
      if (e instanceof Error && REFUSED.test(e.message)) this.o.blame(`does not serve the image (${e.message})`);
      return true;
    }
  }
}
