/**
 * What the guests of this host's VMs say of themselves, read now and then through their agents: slowly, a few at a time, at once
 * when an agent appears, seldom where none answers. One call runs at a time per guest, whoever asks; a guest that hangs holds up
 * nobody but itself. What is known is told to the hub. What people ask of guests is guest-verbs.ts's.
 */
import type { Log } from '@berth/shared/log/log.ts';
import { NOTHING_SAID, type GuestAgentState, type GuestFacts, type GuestSeen } from '@berth/shared/model/guest.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { KeyedTurns, Turns } from '@berth/shared/runtime/turns.ts';
import { readMark } from '../domain/metadata.ts';
import { troubleOf, type GuestEvent } from '../drivers/guest-agents.ts';
import type { DomainSeen, Hypervisor, HypervisorEvent } from '../drivers/hypervisor.ts';
import { roundUse, tame } from './facts.ts';
import type { Freezes } from './freezes.ts';

export interface GuestsDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'subscribe' | 'guests'>;
  readonly freezes: Pick<Freezes, 'find' | 'forget' | 'uuids'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Undefined: it is off, or gone. */
  publish(uuid: string, guest: GuestSeen | undefined): void;
}

interface Entry {
  agent: GuestAgentState | undefined;
  facts: GuestFacts;
  lastResetAtMs: number;
  power: DomainSeen['power'];
  /** In a row; also slow answers. */
  failures: number;
  timer: Timer | undefined;
}

const EVERY_MS = 45_000;
const SELDOM_MS = 600_000;
/** A guest that was just started has no agent yet; one whose agent just came is busy. */
const SOON_MS = 1_000;
const SLOW_MS = 5_000;
/** Guests that are read at the same time. */
const AT_ONCE = 3;

export class Guests {
  private readonly entries = new Map<string, Entry>();
  private readonly turns = new Turns(AT_ONCE);
  private readonly calls = new KeyedTurns();
  private readonly unsubscribe: (() => void)[] = [];
  private stopped = false;

  constructor(private readonly deps: GuestsDeps) {}

  start(): void {
    const { hypervisor } = this.deps;
    this.unsubscribe.push(
      hypervisor.subscribe((e) => this.onHypervisor(e)),
      hypervisor.guests.subscribe((e) => this.onGuest(e)),
    );
  }

  stop(): void {
    this.stopped = true;
    for (const f of this.unsubscribe.splice(0)) f();
    for (const e of this.entries.values()) e.timer?.cancel();
    this.entries.clear();
  }

  /** Undefined for one that is off, or not ours. */
  find(uuid: string): GuestSeen | undefined {
    const entry = this.entries.get(uuid);
    return entry && this.seen(uuid, entry, entry.facts);
  }

  /** Alone with its agent. Everything that is asked of one goes through here. */
  async alone<T>(uuid: string, work: () => Promise<T>): Promise<T> {
    const release = await this.calls.take(uuid);
    try {
      const result = await work();
      this.note(uuid, 'connected');
      return result;
    } catch (e) {
      const trouble = troubleOf(e);
      if (trouble !== undefined) this.note(uuid, trouble === 'refused' ? 'connected' : trouble);
      throw e;
    } finally {
      release();
    }
  }

  /** Reads it now, to the byte. */
  async read(uuid: string): Promise<GuestSeen | undefined> {
    const facts = await this.alone(uuid, async () => tame(await this.deps.hypervisor.guests.read(uuid)));
    const entry = this.entries.get(uuid);
    if (entry === undefined) return undefined;
    entry.facts = facts;
    this.publish(uuid, entry);
    return this.seen(uuid, entry, facts);
  }

  /** Something else about it has changed. */
  changed(uuid: string): void {
    const entry = this.entries.get(uuid);
    if (entry) this.publish(uuid, entry);
  }

  /** What its agent is found to be by a call. */
  private note(uuid: string, agent: GuestAgentState): void {
    const entry = this.entries.get(uuid);
    if (entry === undefined || entry.agent === agent) return;
    entry.agent = agent;
    if (agent === 'absent') entry.facts = NOTHING_SAID;
    this.publish(uuid, entry);
  }

  private onHypervisor(e: HypervisorEvent): void {
    if (e.type === 'domain') return this.onDomain(e.uuid, e.seen);
    if (e.type === 'connected') void this.sync();
  }

  private async sync(): Promise<void> {
    const all = await this.deps.hypervisor.list().catch(() => undefined);
    if (all === undefined || this.stopped) return;
    for (const uuid of [...this.entries.keys(), ...this.deps.freezes.uuids()])
      if (!all.some((d) => d.uuid === uuid)) this.onDomain(uuid, undefined);
    for (const d of all) this.onDomain(d.uuid, d);
  }

  private onDomain(uuid: string, seen: DomainSeen | undefined): void {
    if (this.stopped || seen?.power === 'unknown') return;
    const entry = this.entries.get(uuid);
    const on = seen !== undefined && seen.power !== 'stopped' && seen.power !== 'crashed';
    if (!on || readMark(seen.metadataXml) === undefined) return this.gone(uuid, seen);
    if (entry) return this.powered(uuid, entry, seen.power);
    const made = {
      agent: undefined,
      facts: NOTHING_SAID,
      lastResetAtMs: 0,
      power: seen.power,
      failures: 0,
      timer: undefined,
    };
    this.entries.set(uuid, made);
    this.publish(uuid, made);
    this.plan(uuid, made, SOON_MS);
  }

  /** One that does not run is not read, and costs nothing, until it does. */
  private powered(uuid: string, entry: Entry, power: DomainSeen['power']): void {
    const goesOn = power === 'running' && entry.power !== 'running';
    entry.power = power;
    if (goesOn) this.plan(uuid, entry, SOON_MS);
  }

  /** What was saved is frozen when it goes on; what was cut off is not when it boots. */
  private gone(uuid: string, seen: DomainSeen | undefined): void {
    const entry = this.entries.get(uuid);
    entry?.timer?.cancel();
    if (seen?.reason !== 'saved') void this.forgetFreeze(uuid);
    if (this.entries.delete(uuid)) this.deps.publish(uuid, undefined);
  }

  private async forgetFreeze(uuid: string): Promise<void> {
    const { freezes, log } = this.deps;
    await freezes.forget(uuid).catch((e: unknown) => log.warn({ err: e, uuid }, 'a freeze could not be forgotten'));
  }

  private onGuest(e: GuestEvent): void {
    const entry = this.entries.get(e.uuid);
    if (entry === undefined) return;
    if (e.type === 'reset') {
      // two within a millisecond are still two
      entry.lastResetAtMs = Math.max(this.deps.clock.now(), entry.lastResetAtMs + 1);
      void this.forgetFreeze(e.uuid);
    } else if (e.connected) {
      entry.failures = 0;
      this.plan(e.uuid, entry, SOON_MS);
    } else {
      entry.agent = 'absent';
      entry.facts = NOTHING_SAID;
    }
    this.publish(e.uuid, entry);
  }

  private plan(uuid: string, entry: Entry, ms: number): void {
    entry.timer?.cancel();
    if (entry.power !== 'running') return;
    entry.timer = this.deps.clock.after(ms, () => void this.look(uuid, entry));
  }

  private async look(uuid: string, entry: Entry): Promise<void> {
    await this.turns.run(async () => {
      if (this.stopped || this.entries.get(uuid) !== entry || entry.power !== 'running') return;
      if (this.deps.freezes.find(uuid)) return; // a frozen guest's agent answers nothing but the thaw
      const began = this.deps.clock.monotonic();
      try {
        await this.read(uuid);
        entry.failures = this.deps.clock.monotonic() - began > SLOW_MS ? entry.failures + 1 : 0;
      } catch (e) {
        entry.failures++;
        this.deps.log.debug({ err: e, uuid }, 'a guest could not be read');
      }
    });
    if (!this.stopped && this.entries.get(uuid) === entry) this.plan(uuid, entry, pause(uuid, entry.failures));
  }

  private publish(uuid: string, entry: Entry): void {
    this.deps.publish(uuid, this.seen(uuid, entry, roundUse(entry.facts)));
  }

  private seen(uuid: string, { agent, lastResetAtMs }: Entry, facts: GuestFacts): GuestSeen {
    const freeze = this.deps.freezes.find(uuid);
    return {
      ...facts,
      agent: agent ?? 'absent',
      lastResetAtMs,
      frozenAtMs: freeze?.atMs ?? 0,
      thawAtMs: freeze?.thawAtMs ?? 0,
    };
  }
}

/** Spread by the guest's own name, so that those that were started together are not read together for ever. */
function pause(uuid: string, failures: number): number {
  const spread = 0.8 + (0.4 * Number.parseInt(uuid.slice(0, 4), 16)) / 0xffff;
  return Math.min(SELDOM_MS, EVERY_MS * 2 ** Math.min(failures, 5)) * spread;
}
