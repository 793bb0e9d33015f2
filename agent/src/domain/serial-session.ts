/**
 * One person at a guest's serial console. What they see is read from the serial log, from a position on: so nothing is lost or
 * shown twice, whatever restarts meanwhile. The port itself carries what they type, and tells that the log is worth a look. Where
 * nothing is logged although the guest speaks (no log in its definition, a full disk), it is shown from the port, and said so.
 */
import type { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks } from '../drivers/disks.ts';
import { CHUNK_BYTES } from './serial-log.ts';
import { SerialPort, type PortDeps } from './serial-port.ts';

export interface SerialOutput {
  readonly data: Uint8Array;
  /** Where in the log it ends; empty when it is not from the log. */
  readonly position: string;
  readonly gap: boolean;
  readonly notice: string;
  readonly ended: string;
}

export interface SessionDeps extends PortDeps {
  readonly disks: Pick<Disks, 'readSerialLog'>;
  readonly clock: Clock;
}

const NOTHING: SerialOutput = { data: new Uint8Array(), position: '', gap: false, notice: '', ended: '' };
const SOONEST_MS = 4;
const LATEST_MS = 300;
/** What the guest said last is on its way through virtlogd: the end waits until nothing came for so long, but not for ever. */
const QUIET_MS = 500;
const LONGEST_END_MS = 5_000;
/** A port that was just opened may hold what was logged long ago. */
const STALE_MS = 2_000;
const UNLOGGED_MS = 5_000;
const MOST_UNLOGGED_BYTES = 256 * 1024;
const UNLOGGED_NOTICE =
  'its host keeps no log of what this guest prints (is the disk full, or the log taken out of its definition?): ' +
  'what it prints while nobody looks is lost';

export class SerialSession {
  private readonly port: SerialPort;
  private position: string;
  private readonly notices: string[] = [];
  private over: { readonly why: string | ClusterError; readonly atMs: number } | undefined;
  private wake: (() => void) | undefined;
  private idleMs = SOONEST_MS;
  private grewAtMs = 0;
  private readonly said: Buffer[] = [];
  private saidBytes = 0;
  private firstUnloggedAtMs: number | undefined;
  /** Bytes that the log had before they came through the port. */
  private ahead = 0;
  private dropped = false;
  private direct = false;

  /** @param from position in the log to begin at. */
  constructor(
    readonly id: string,
    private readonly ref: { readonly uuid: string; readonly vmId: string },
    private readonly deps: SessionDeps,
    from: string,
  ) {
    this.position = from;
    this.port = new SerialPort(ref.uuid, deps, {
      said: (data) => this.heard(data),
      notice: (words) => this.notices.push(words),
      over: (why) => this.end(why),
    });
  }

  open(force: boolean): Promise<void> {
    return this.port.open(force);
  }

  type(data: Uint8Array): Promise<void> {
    return this.port.type(data);
  }

  /** Over, when what was printed so far has been shown. @param why words, for the person; empty: they ended it themselves. */
  end(why: string | ClusterError): void {
    this.over ??= { why, atMs: this.deps.clock.monotonic() };
    this.wake?.();
  }

  close(): void {
    this.port.close();
    this.end('');
  }

  /** First, at once and without data, the position. @throws what ended it, unless the guest or the person did; the signal's reason. */
  async *output(signal: AbortSignal): AsyncGenerator<SerialOutput> {
    const stop = (): void => this.wake?.();
    signal.addEventListener('abort', stop);
    try {
      yield { ...NOTHING, position: this.position };
      for (;;) {
        if (signal.aborted) throw signal.reason;
        const next = await this.look();
        if (next) yield next;
        else if (this.isOver()) break;
        else await this.rest(signal);
      }
    } finally {
      signal.removeEventListener('abort', stop);
      this.close();
    }
    const why = this.over?.why ?? '';
    if (typeof why !== 'string') throw why;
    if (why !== '') yield { ...NOTHING, position: this.direct ? '' : this.position, ended: why };
  }

  private async look(): Promise<SerialOutput | undefined> {
    const notice = this.notices.shift();
    if (notice !== undefined) return { ...NOTHING, position: this.direct ? '' : this.position, notice };
    if (this.direct) return this.fromPort();
    const piece = await this.deps.disks.readSerialLog(this.ref.vmId, { position: this.position }, CHUNK_BYTES);
    this.position = piece.position;
    if (piece.data.length === 0 && !piece.gap) return this.unlogged();
    this.idleMs = SOONEST_MS;
    this.grewAtMs = this.deps.clock.monotonic();
    this.countLogged(piece.data.length);
    return { ...NOTHING, ...piece };
  }

  private heard(data: Buffer): void {
    this.idleMs = SOONEST_MS;
    this.wake?.();
    if (!this.direct && this.port.openMs <= STALE_MS) return;
    const rest = this.direct ? data : this.withoutLogged(data);
    if (rest.length === 0) return;
    this.firstUnloggedAtMs ??= this.deps.clock.monotonic();
    this.said.push(rest);
    this.saidBytes += rest.length;
    while (this.saidBytes > MOST_UNLOGGED_BYTES) {
      this.saidBytes -= this.said.shift()?.length ?? this.saidBytes;
      this.dropped = true; // nobody reads as fast as it prints
    }
  }

  /** Port and log carry the same bytes, and either may be first: what the log had just before is not news. */
  private withoutLogged(data: Buffer): Buffer {
    if (this.deps.clock.monotonic() - this.grewAtMs >= UNLOGGED_MS) this.ahead = 0;
    const known = Math.min(this.ahead, data.length);
    this.ahead -= known;
    return data.subarray(known);
  }

  private countLogged(bytes: number): void {
    let left = bytes;
    for (let first = this.said[0]; left > 0 && first; first = this.said[0]) {
      if (first.length > left) this.said[0] = first.subarray(left);
      else this.said.shift();
      const taken = Math.min(left, first.length);
      this.saidBytes -= taken;
      left -= taken;
    }
    this.ahead += left;
    this.firstUnloggedAtMs = this.said.length > 0 ? this.deps.clock.monotonic() : undefined;
  }

  /** From the moment on when the guest has spoken for a while and the log knows nothing of it. */
  private unlogged(): SerialOutput | undefined {
    const since = this.firstUnloggedAtMs;
    if (since === undefined || this.deps.clock.monotonic() - since < UNLOGGED_MS) return undefined;
    this.direct = true;
    return { ...NOTHING, notice: UNLOGGED_NOTICE };
  }

  private fromPort(): SerialOutput | undefined {
    const data = Buffer.concat(this.said.splice(0));
    const gap = this.dropped;
    this.saidBytes = 0;
    this.dropped = false;
    if (data.length === 0) return undefined;
    this.grewAtMs = this.deps.clock.monotonic();
    return { ...NOTHING, data, gap };
  }

  private isOver(): boolean {
    if (this.over === undefined) return false;
    const now = this.deps.clock.monotonic();
    return now - Math.max(this.over.atMs, this.grewAtMs) >= QUIET_MS || now - this.over.atMs >= LONGEST_END_MS;
  }

  /** Until the guest speaks, or for a moment; shortly after it spoke the log is looked at often. */
  private async rest(signal: AbortSignal): Promise<void> {
    const ms = this.over ? QUIET_MS / 10 : this.idleMs;
    this.idleMs = Math.min(2 * this.idleMs, LATEST_MS);
    const woken = new AbortController();
    if (ms > SOONEST_MS * 4) this.wake = () => woken.abort();
    if (signal.aborted) return;
    await this.deps.clock.sleep(ms, woken.signal).catch(() => undefined);
    this.wake = undefined;
  }
}
