/**
 * One host's link: dial when admitted, watch, notice silence, tell a certificate fault from a dead host, try again later.
 * What it means for people (events) and for jobs is connections.ts's.
 */
import type { SecureContext } from 'node:tls';
import type { ServiceError } from '@grpc/grpc-js';
import { WatchServiceService } from '@berth/proto/agent/v1/watch.ts';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import { hostState, type Host, type HostState } from '@berth/shared/model/host.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { Admission, Place } from './admission.ts';
import { Connection, type CallBegun } from './connection.ts';
import { clockFault, connectFault, REVOKED, type LinkFault } from './faults.ts';
import type { FenceSource } from './fence.ts';
import { Intake } from './intake.ts';
import { CONNECT_TIMEOUT_MS, SILENCE_MS, SNAPSHOT_TIMEOUT_MS, tame } from './limits.ts';
import type { SeenHost } from './seen-host.ts';
import { HostRecord, type Applied } from './record.ts';
import { Rhythm, RHYTHM_CAPABILITY } from './rhythm.ts';

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8_000;
/** A handshake costs real CPU, and a certificate does not get better by itself. */
const LAST_FAULT_RETRY_MS = 30_000;
/** An agent that was just enrolled starts, and lets go of the controller's former run, within seconds. */
const SETTLING_RETRY_MS = 500;
/** A host that has just enrolled, or whose agent still has the controller's former run, gets this long to come up. */
const SETTLE_MS = 15_000;
/** An agent that stays up this long has earned a quick retry. */
const STABLE_MS = 10_000;
const PREPARE_RETRY_MS = 5_000;

export interface LinkDeps {
  readonly clock: Clock;
  readonly random: Random;
  /** The present one; it changes when certificates are renewed. */
  readonly context: () => SecureContext;
  readonly isRevoked: (serial: string) => boolean;
  readonly fence: FenceSource;
  readonly admission: Admission;
  /** What each watch begins with; an agent that can be told is told what is wanted as soon as it is up. */
  readonly statisticsIntervalMs: number;
  readonly begun?: CallBegun | undefined;
  changed(link: HostLink, before: HostState): void;
  applied(link: HostLink, what: Applied): void;
  /** What must be done before the host counts as up: undefined when nothing. Rejects when it could not be done. */
  prepare(link: HostLink): Promise<void> | undefined;
}

type Link = Parameters<typeof hostState>[1];

export class HostLink {
  readonly record = new HostRecord();
  reason = '';
  sinceMs: number;
  lastSeenMs: number | undefined;
  connection: Connection | undefined;
  /** Grows with each connection: complaints are counted per connection. */
  connections = 0;
  private link: Link = 'none';
  private shown: HostState;
  private intake: Intake | undefined;
  private rhythm: Rhythm | undefined;
  private place: Place | undefined;
  private retry: Timer | undefined;
  private stopped = false;
  private attempts = 0;
  private refusals = 0;
  private dialledAt = 0;
  private upAt = 0;
  private lastMessageAt: number | undefined;
  /** Until then a host that does not answer yet is connecting, not unreachable. */
  private settlesAt = 0;
  private heard = false;
  private whole = false;

  /** @param former what the former run of the controller knew. */
  constructor(
    public host: Host,
    private readonly deps: LinkDeps,
    private readonly former?: SeenHost,
  ) {
    this.lastSeenMs = former?.atMs;
    this.sinceMs = deps.clock.now();
    this.shown = hostState(host, this.link);
  }

  get state(): HostState {
    return this.shown;
  }
  /** What was known before this run of the controller; undefined as soon as the host has reported. */
  get before(): SeenHost | undefined {
    return this.record.reported ? undefined : this.former;
  }
  get isUp(): boolean {
    return this.link === 'up';
  }
  /** Its reports are fresh: the stream is there, or was a moment ago. */
  get isFresh(): boolean {
    if (this.whole) return true;
    const last = this.lastMessageAt;
    return this.upAt > 0 && last !== undefined && this.deps.clock.monotonic() - last <= SILENCE_MS;
  }

  /** Takes over a change of intent; dials anew where the address or the certificate changed. */
  update(host: Host): void {
    const before = this.host;
    this.host = host;
    const moved = before.address !== host.address;
    const enrolled = before.certificateFingerprint !== host.certificateFingerprint;
    if (enrolled) this.settlesAt = this.deps.clock.monotonic() + SETTLE_MS;
    if (moved && this.connection) this.drop({ kind: 'unreachable', reason: `its address is now ${host.address}` });
    if (moved || (enrolled && this.connection === undefined)) this.dialSoon();
    else this.show();
  }

  /** Dials at the next turn, whatever the back-off says. */
  dialSoon(): void {
    this.attempts = 0;
    this.refusals = 0;
    this.show();
    this.dial();
  }

  /** Called about once a second: finds silence. */
  tick(): void {
    const now = this.deps.clock.monotonic();
    const quietMs = now - (this.lastMessageAt ?? now);
    const overdue = this.connection && this.overdue(now - this.dialledAt, quietMs);
    if (overdue) return this.drop({ kind: 'unreachable', reason: overdue });
    const patient = this.upAt > 0 ? quietMs <= SILENCE_MS : now <= this.settlesAt;
    if (!this.connection && this.link === 'connecting' && this.reason !== '' && !patient)
      this.set('unreachable', this.reason);
  }

  /** @returns whether the agent had to be told how often statistics are wanted. */
  keepRhythm(wantedMs: number): boolean {
    if (!this.isUp || this.record.facts?.capabilities.includes(RHYTHM_CAPABILITY) !== true) return false;
    return this.rhythm?.keep(wantedMs) ?? false;
  }

  /** What a connection should have given by now and has not. */
  private overdue(sinceDialMs: number, quietMs: number): string | undefined {
    if (!this.heard) return sinceDialMs > CONNECT_TIMEOUT_MS ? `${this.host.address}: it does not answer` : undefined;
    if (!this.whole && sinceDialMs > SNAPSHOT_TIMEOUT_MS) return 'it does not finish its report';
    return quietMs > SILENCE_MS ? `no sign of life for ${SILENCE_MS / 1000} s` : undefined;
  }

  stop(): void {
    this.stopped = true;
    this.release();
    this.retry?.cancel();
  }

  private dial(): void {
    this.retry?.cancel();
    if (this.stopped || this.connection || this.host.certificateFingerprint === undefined) return;
    this.place?.leave();
    if (this.link === 'none') this.set('connecting', '');
    this.place = this.deps.admission.enter(() => this.connect(), this.attempts === 0);
  }

  private connect(): void {
    if (this.stopped) return;
    const { fence, statisticsIntervalMs, clock } = this.deps;
    const connection = this.newConnection();
    this.connection = connection;
    this.connections++;
    this.dialledAt = clock.monotonic();
    this.heard = false;
    const request = { fence: fence.introduce(), statisticsIntervalMs: BigInt(statisticsIntervalMs) };
    const stream = connection.serverStream(WatchServiceService.watch, request);
    this.rhythm = new Rhythm(connection, fence, statisticsIntervalMs);
    const current = () => this.connection === connection;
    this.intake = new Intake(stream, this.host.id, this.record, clock, {
      alive: () => this.alive(),
      applied: (what) => this.deps.applied(this, what),
      snapshot: () => void this.settle(connection),
      broken: (why) => current() && this.drop({ kind: 'unreachable', reason: why }),
    });
    stream.on('error', (e: ServiceError) => current() && this.drop(this.faultOf(tame(e), connection)));
    stream.on('end', () => current() && this.drop({ kind: 'unreachable', reason: 'its agent ended the connection' }));
  }

  /** For one use beside the link; the caller closes it. */
  newConnection(): Connection {
    const { context, isRevoked, clock } = this.deps;
    return new Connection(this.host.address, this.host.id, context(), isRevoked, clock, this.deps.begun);
  }

  /** Ends a connection whose certificate is revoked. */
  checkRevoked(): void {
    const serial = this.connection?.peerSerial;
    if (serial !== undefined && this.deps.isRevoked(serial))
      this.drop(connectFault(REVOKED, false, this.host, this.deps.clock.now()));
  }

  private alive(): void {
    this.lastMessageAt = this.deps.clock.monotonic();
    this.lastSeenMs = this.deps.clock.now();
    if (this.heard) return;
    this.heard = true;
    this.place?.leave();
  }

  /** The snapshot is whole: pay what is owed, then up. */
  private async settle(connection: Connection): Promise<void> {
    this.whole = true;
    this.refusals = 0;
    if (this.link === 'up') return;
    while (this.connection === connection) {
      try {
        const work = this.deps.prepare(this);
        if (work) this.set('connecting', 'removing what was left');
        await work;
        break;
      } catch (e) {
        if (this.connection !== connection) return;
        this.set('connecting', `removing what was left: ${chain(e)}`);
        await new Promise<void>((resolve) => this.deps.clock.after(PREPARE_RETRY_MS, resolve));
      }
    }
    if (this.connection !== connection) return;
    this.upAt = this.deps.clock.monotonic();
    this.set('up', '');
  }

  private faultOf(e: ServiceError, connection: Connection): LinkFault {
    const reason = String(e.metadata?.get('berth-reason')[0] ?? '');
    if (reason === 'WRONG_CONTROLLER' && this.upAt === 0 && this.settlesAt === 0)
      this.settlesAt = this.deps.clock.monotonic() + SETTLE_MS;
    if (reason !== '') {
      const told = fromStatus(e, 'HOST_UNREACHABLE', `host ${this.host.name}`);
      const clock = clockFault(this.host.name, told.meta, this.deps.clock.now());
      if (clock) return clock;
      const kind = reason === 'UNAUTHENTICATED' || reason === 'PERMISSION_DENIED' ? 'certificate-fault' : 'unreachable';
      return { kind, reason: `its agent refuses: ${told.message}`, soon: reason === 'WRONG_CONTROLLER' };
    }
    if (this.heard) return { kind: 'unreachable', reason: 'the connection broke' };
    return connectFault(e.details || e.message, connection.peerSerial !== undefined, this.host, this.deps.clock.now());
  }

  /** Ends the connection and plans the next try. */
  private drop(fault: LinkFault): void {
    const now = this.deps.clock.monotonic();
    const wasUp = this.link === 'up';
    if (wasUp && now - this.upAt > STABLE_MS) this.attempts = 0;
    this.release();
    if (fault.kind === 'refused-us') this.refusals++;
    const kind = fault.kind !== 'refused-us' ? fault.kind : this.refusals > 1 ? 'certificate-fault' : 'unreachable';
    this.set(kind === 'unreachable' && this.mayComeBack(now, wasUp) ? 'connecting' : kind, fault.reason);
    const longest = kind === 'certificate-fault' ? LAST_FAULT_RETRY_MS : LAST_RETRY_MS;
    this.planRetry(fault.soon === true || now <= this.settlesAt ? SETTLING_RETRY_MS : longest);
  }

  private mayComeBack(now: number, wasUp: boolean): boolean {
    if (now <= this.settlesAt && this.upAt === 0) return true;
    const wasThere = this.upAt > 0 && (wasUp || this.link === 'connecting');
    return wasThere && now - (this.lastMessageAt ?? 0) <= SILENCE_MS;
  }

  private planRetry(longestMs: number): void {
    if (this.stopped) return;
    const span = Math.min(longestMs, FIRST_RETRY_MS * 2 ** Math.min(this.attempts++, 10));
    this.retry?.cancel();
    this.retry = this.deps.clock.after(span * (0.5 + this.deps.random.next() / 2), () => this.dial());
  }

  private release(): void {
    this.intake?.stop();
    this.intake = undefined;
    this.rhythm = undefined;
    const connection = this.connection;
    this.connection = undefined;
    this.whole = false;
    this.record.abandonSnapshot();
    this.place?.leave();
    connection?.close();
  }

  private set(link: Link, reason: string): void {
    this.link = link;
    this.reason = reason;
    this.show();
  }

  private show(): void {
    const before = this.shown;
    this.shown = hostState(this.host, this.link);
    if (before === this.shown) return;
    this.sinceMs = this.deps.clock.now();
    this.deps.changed(this, before);
  }
}
