/**
 * The connection to whoever serves the image, over the tunnel's socket: comes and goes, while pieces that were asked for
 * stay asked for. What guests wait for goes first. Believes nothing; chunks.ts checks what comes.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
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
  /** How long nothing may become whole of what is under way; default a minute. */
  readonly stalledMs?: number;
}

interface Piece {
  readonly run: (nbd: NbdClient) => Promise<void>;
  readonly reject: (e: Error) => void;
}

/** Enough under way to hide the way there and back, and little for a guest to wait behind. */
const IN_FLIGHT = 8;
const RETRY_MS = 200;
/**
 * A source that copies the image itself says so of what it is waiting for; it is believed so often in a row, for as long as it
 * takes to find another source there.
 */
const PATIENT_TRIES = 8;
const AGAIN_MS = 1_000;
const MOST_BARREN = 5;
/** What was said on the connection, not its end. */
const REFUSED = /the server refuses|no NBD server|too old|does not tell|absurd size|garbage/;
/** The tunnel holds a connection for as long as there is no source, and cuts off one that is silent. */
const PATIENCE_MS = 24 * 3_600_000;

/** Slower than so is no source: guests wait for it. A peer that says nothing at all is cut off by the tunnel long before. */
const STALLED_MS = 60_000;
const LOOKS = 4;
/** A look that comes later than this factor was not waited for: this process was stopped meanwhile, not the source. */
const OVERSLEPT = 2;

export class SourceLink {
  /** When something last came, on the monotonic clock. */
  heardAtMs: number;
  /** So many there have been; who compares knows whether all came from one. */
  connections = 0;
  private readonly urgent: Piece[] = [];
  private readonly later: Piece[] = [];
  private inFlight = 0;
  private nbd: NbdClient | undefined;
  private connecting = false;
  private failures = 0;
  /** Connections in a row that ended without one whole answer. */
  private barren = 0;
  private isBarren = false;
  /** When the source last gave a whole answer, or was asked anew after it owed none. */
  private answeredMs = 0;
  private lookedMs = 0;
  private looking: Timer | undefined;

  constructor(private readonly o: SourceLinkOptions) {
    this.heardAtMs = o.clock.monotonic();
    o.signal.addEventListener('abort', () => this.close(), { once: true });
  }

  get connected(): boolean {
    return this.nbd !== undefined && !this.nbd.ended;
  }

  read(target: Buffer, offset: number, urgent: boolean): Promise<void> {
    return this.ask((nbd) => nbd.readInto(target, offset), urgent);
  }

  blockStatus(offset: number, length: number, urgent: boolean): Promise<readonly NbdExtent[]> {
    return this.ask((nbd) => nbd.blockStatus(offset, length), urgent);
  }

  /** The source was blamed: whatever is asked for is asked of the next. */
  drop(): void {
    this.nbd?.close();
  }

  close(): void {
    this.looking?.cancel();
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
    if (this.inFlight++ === 0) this.answeredMs = this.o.clock.monotonic();
    this.watch();
    try {
      await piece.run(nbd);
      this.answeredMs = this.heardAtMs = this.o.clock.monotonic();
      this.failures = this.barren = 0;
      this.isBarren = false;
    } catch (e) {
      if (nbd.ended && nbd === this.nbd) this.noteEnd();
      this.answeredMs = this.o.clock.monotonic();
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

  /** The peer may have died, and another may be behind the tunnel by now; it is not every peer that dies at once. */
  private noteEnd(): void {
    if (!this.isBarren) return;
    this.isBarren = false;
    if (++this.barren < MOST_BARREN) return;
    this.barren = 0;
    this.o.blame('answers nothing that makes sense');
  }

  /** Bytes that drip in keep the tunnel, and are no help to anybody. */
  private watch(): void {
    const { clock, signal, stalledMs = STALLED_MS } = this.o;
    if (this.looking !== undefined || this.inFlight === 0 || signal.aborted) return;
    const periodMs = stalledMs / LOOKS;
    this.lookedMs = clock.monotonic();
    this.looking = clock.after(periodMs, () => {
      this.looking = undefined;
      const now = clock.monotonic();
      if (now - this.lookedMs > periodMs * OVERSLEPT) this.answeredMs = now;
      const late = this.connected && this.inFlight > 0 && now - this.answeredMs >= stalledMs;
      if (late) this.turnAway(this.nbd!, `has given nothing whole for ${Math.round(stalledMs / 1_000)} s`);
      this.watch();
    });
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
      .then((again) => (again || this.barren > 0 ? this.o.clock.sleep(RETRY_MS, this.o.signal) : undefined))
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
      this.connections++;
      this.isBarren = true;
      this.answeredMs = this.heardAtMs = clock.monotonic();
      return false;
    } catch (e) {
      if (e instanceof Error && REFUSED.test(e.message)) this.o.blame(`does not serve the image (${e.message})`);
      return true;
    }
  }
}
