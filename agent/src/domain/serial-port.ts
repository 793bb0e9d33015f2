/**
 * The serial port of one guest, held open over restarts of libvirt: what is typed waits while there is none. What comes out of it
 * is only counted: people are shown the serial log, which has every byte once (see serial-session.ts).
 */
import type { Duplex } from 'node:stream';
import { chain, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';

export interface PortDeps {
  readonly hypervisor: Pick<Hypervisor, 'openConsole'>;
  readonly clock: Clock;
  /** The domain as it is now. Throws while libvirt is away. */
  look(): Promise<DomainSeen | undefined>;
}

export interface PortEvents {
  /** The guest has said something. */
  said(data: Buffer): void;
  /** libvirt went away, or is back. */
  notice(words: string): void;
  /** Over for good: with words when the guest is why, with an error when somebody took it. */
  over(why: string | ClusterError): void;
}

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
/** A shorter absence of libvirt is nobody's business. */
const TELL_AFTER_MS = 1_000;
const ON: ReadonlySet<string> = new Set(['running', 'paused', 'stopping', 'suspended', 'unknown']);

export const hasPort = (seen: Pick<DomainSeen, 'power'>): boolean => ON.has(seen.power);

export class SerialPort {
  private pty: Duplex | undefined;
  private openedAt = 0;
  private closed = false;
  private waiting: (() => void)[] = [];
  private readonly life = new AbortController();

  constructor(
    private readonly uuid: string,
    private readonly deps: PortDeps,
    private readonly events: PortEvents,
  ) {}

  /** @throws RESOURCE_BUSY when somebody else has it, unless `force`. */
  async open(force: boolean): Promise<void> {
    this.attach(await this.deps.hypervisor.openConsole(this.uuid, force));
  }

  /** How long it has been open without a break; 0 while it is not. */
  get openMs(): number {
    return this.pty === undefined ? 0 : this.deps.clock.monotonic() - this.openedAt;
  }

  /** Resolves when the guest's port has taken it, or is over. */
  async type(data: Uint8Array): Promise<void> {
    while (this.pty === undefined && !this.closed) await new Promise<void>((go) => this.waiting.push(go));
    const { pty } = this;
    if (pty === undefined || pty.destroyed || pty.write(data)) return;
    await new Promise<void>((go) => pty.once('drain', go).once('close', go));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.life.abort();
    this.pty?.destroy();
    this.pty = undefined;
    this.wake();
  }

  private wake(): void {
    for (const go of this.waiting.splice(0)) go();
  }

  private attach(pty: Duplex): void {
    if (this.closed) return void pty.destroy();
    this.pty = pty;
    this.openedAt = this.deps.clock.monotonic();
    pty.on('data', (data: Buffer) => this.events.said(data));
    pty.on('error', () => undefined); // what becomes of it is found out below
    pty.once('end', () => pty.destroy());
    pty.once('close', () => {
      this.pty = undefined;
      if (!this.closed) void this.reopen();
    });
    this.wake();
  }

  private async reopen(): Promise<void> {
    const { clock } = this.deps;
    const since = clock.monotonic();
    let told = false;
    for (let ms = FIRST_RETRY_MS; !this.closed; ms = Math.min(2 * ms, LAST_RETRY_MS)) {
      const found = await this.tryOpen(clock.monotonic() - since);
      if (this.closed && typeof found === 'object' && 'destroy' in found) return void found.destroy();
      if (found instanceof ClusterError || typeof found === 'string') return this.end(found);
      if (found) {
        if (told) this.events.notice('libvirt is back');
        return this.attach(found);
      }
      if (!told && clock.monotonic() - since > TELL_AFTER_MS) {
        told = true;
        this.events.notice('libvirt on its host does not answer: what you type waits until it does');
      }
      await clock.sleep(ms, this.life.signal).catch(() => undefined);
    }
  }

  private end(why: string | ClusterError): void {
    this.close();
    this.events.over(why);
  }

  /** The port; or why there is none any more; or undefined: ask again later. */
  private async tryOpen(afterMs: number): Promise<Duplex | string | ClusterError | undefined> {
    let seen: DomainSeen | undefined;
    try {
      seen = await this.deps.look();
      if (seen === undefined) return 'its domain was removed';
      if (!hasPort(seen)) return `it is ${seen.power}${seen.reason === 'saved' ? ' (saved)' : ''}`;
      return await this.deps.hypervisor.openConsole(this.uuid, false);
    } catch (e) {
      if (isClusterError(e, 'BAD_STATE', 'NOT_FOUND')) return seen ? 'it is stopped' : chain(e);
      // a port that was just lost may still count as ours for a moment
      if (isClusterError(e, 'RESOURCE_BUSY') && afterMs > TELL_AFTER_MS) return taken(seen?.name ?? this.uuid);
      return undefined;
    }
  }
}

export const taken = (name: string): ClusterError =>
  new ClusterError('RESOURCE_BUSY', `somebody else has taken over the console of vm ${name}`, { taken: 'over' });
