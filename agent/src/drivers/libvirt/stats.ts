/**
 * Statistics of all running domains in one call, with a deadline. A frozen QEMU swallows the bulk call: then each domain
 * is asked alone, the one that does not answer is suspect, and it is left out until its power state changes or a look in
 * the background finds it well again. Uses connections of its own, which may be abandoned.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { DomainSeen, DomainStats, SilentDomain } from '../hypervisor.ts';
import { isDeadline, outcomeUnknown } from './errors.ts';
import { beforeDeadline } from './pool.ts';
import type { Pool } from './pool.ts';
import { isActive } from './power.ts';
import { PROC } from './procedures.ts';
import { refOf } from './read-domain.ts';
import { readAnswers, type DomainAnswer } from './stats-record.ts';
import type { DomainRef } from './types.ts';

const GROUPS = 0x2 | 0x4 | 0x10 | 0x20; // CPU_TOTAL, BALLOON, INTERFACE, BLOCK
const VCPU = 0x8;
const ACTIVE_ONLY = 0x1;
/** Skip what would wait for another operation on the same domain. */
const NOWAIT = 0x2000_0000;
const PROBE_DEADLINE_MS = 2_000;
const LOOK_AGAIN_MS = 20_000;
/** The part of a caller's deadline that the bulk call gets; the rest is for asking one by one. */
const BULK_SHARE = 0.5;

export interface StatsOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly pool: Pool;
  domains(): readonly DomainSeen[];
  /** libvirt does not count it as active, though `domains` says so: it tells of no event when it ends a guest while it starts. */
  inactive(uuid: string): void;
}

interface Round {
  readonly gathered: Map<string, DomainStats>;
  readonly done: Promise<void>;
}

export class StatsCollector {
  /** UUID → since when (monotonic). */
  readonly #suspects = new Map<string, number>();
  #round: Round | undefined;
  #lookedAt = 0;
  #groups = GROUPS;

  constructor(readonly opts: StatsOptions) {}

  /** What could be gathered within the deadline. Rounds are shared: a second caller joins the first one's. */
  async collect(deadlineMs: number, vcpus = false): Promise<readonly DomainStats[]> {
    if (this.#round === undefined) this.#groups = vcpus ? GROUPS | VCPU : GROUPS;
    const round = (this.#round ??= this.#begin(deadlineMs));
    let late = false;
    await beforeDeadline(this.opts.clock, round.done, deadlineMs, () => {
      late = true;
      return new Error('late');
    }).catch((e: unknown) => {
      if (!late) throw e;
    });
    return [...round.gathered.values()];
  }

  /** A domain whose QEMU was started, stopped or paused deserves a new chance. */
  powerChanged(uuid: string): void {
    this.#suspects.delete(uuid);
  }

  /** Whose QEMU does not answer. */
  silent(): readonly SilentDomain[] {
    const now = this.opts.clock.monotonic();
    return [...this.#suspects].map(([uuid, since]) => ({ uuid, silentMs: now - since }));
  }

  #begin(deadlineMs: number): Round {
    const gathered = new Map<string, DomainStats>();
    const done = this.#gather(gathered, deadlineMs).finally(() => (this.#round = undefined));
    return { gathered, done };
  }

  async #gather(into: Map<string, DomainStats>, deadlineMs: number): Promise<void> {
    this.#lookAgain();
    const asked = this.opts.domains().filter((d) => isActive(d.power) && !this.#suspects.has(d.uuid));
    const doms = asked.map((d) => refOf(d.uuid, d.name));
    if (doms.length === 0) return;
    try {
      // Named one by one: asked for "all", libvirt would also wait for a domain that is being launched.
      const answers = await this.#ask(doms, deadlineMs * BULK_SHARE);
      const active = new Set(answers.map((a) => a.uuid));
      for (const { uuid } of asked) if (!active.has(uuid)) this.opts.inactive(uuid);
      for (const { uuid, stats } of answers) if (stats !== undefined) into.set(uuid, stats);
    } catch (e) {
      if (!isDeadline(e)) throw e;
      await Promise.all(doms.map((dom) => this.#probe(dom, into)));
    }
  }

  async #ask(doms: readonly DomainRef[], deadlineMs: number): Promise<readonly DomainAnswer[]> {
    const args = { doms, stats: this.#groups, flags: ACTIVE_ONLY + NOWAIT };
    const { pool, clock } = this.opts;
    const { records } = await pool.call(PROC.allStats, args, 'read statistics', deadlineMs);
    const came = { atMs: clock.monotonic(), nowMs: clock.now() };
    try {
      return readAnswers(records, came);
    } catch (e) {
      throw outcomeUnknown('read statistics', `the answer makes no sense (${(e as Error).message})`);
    }
  }

  /** Asks for one domain. The bulk call may still sit in a frozen QEMU: then libvirt skips what needs it, at once. */
  async #probe(dom: DomainRef, into: Map<string, DomainStats>): Promise<void> {
    try {
      const [answer] = await this.#ask([dom], PROBE_DEADLINE_MS);
      if (answer === undefined) return;
      if (answer.stats !== undefined) into.set(dom.uuid, answer.stats);
      else this.#suspect(dom);
    } catch (e) {
      if (isDeadline(e)) this.#suspect(dom);
      else this.opts.log.debug({ err: e, domain: dom.name }, 'no statistics of this domain');
    }
  }

  #suspect(dom: DomainRef): void {
    if (this.#suspects.has(dom.uuid)) return;
    this.#suspects.set(dom.uuid, this.opts.clock.monotonic());
    this.opts.log.warn(
      { domain: dom.name, uuid: dom.uuid },
      'QEMU of this domain does not answer; its statistics are left out until it is stopped, started or well again',
    );
  }

  /** A suspect may have thawed without any event. Nobody waits for this. */
  #lookAgain(): void {
    const now = this.opts.clock.monotonic();
    if (this.#suspects.size === 0 || now - this.#lookedAt < LOOK_AGAIN_MS) return;
    this.#lookedAt = now;
    for (const d of this.opts.domains())
      if (this.#suspects.has(d.uuid)) void this.#lookAt(refOf(d.uuid, d.name)).catch(() => undefined); // still suspect
  }

  async #lookAt(dom: DomainRef): Promise<void> {
    const [answer] = await this.#ask([dom], PROBE_DEADLINE_MS);
    if (answer?.stats === undefined || !this.#suspects.delete(dom.uuid)) return;
    this.opts.log.info({ domain: dom.name, uuid: dom.uuid }, 'QEMU of this domain answers again');
  }
}
