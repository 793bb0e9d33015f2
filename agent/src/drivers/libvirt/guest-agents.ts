/**
 * GuestAgents over libvirt. Each call first tells libvirt how long a guest's agent may take for one answer, so that its worker is
 * free again soon; a deadline of ours stands behind that. The calls have connections of their own. What libvirt's errors mean of
 * an agent is said here; what guests say is believed by nobody.
 */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { oneLine } from '@berth/shared/units/text.ts';
import {
  agentRefused,
  noAgent,
  noChannel,
  silentAgent,
  type GuestAgents,
  type GuestEvent,
  type GuestProcess,
  type GuestProgram,
  type GuestSaid,
} from '../guest-agents.ts';
import type { DomainCache } from './domain-cache.ts';
import { CODE, hasCode, isDeadline } from './errors.ts';
import { execCommand, readPid, readProcess, statusCommand } from './guest-exec.ts';
import { readGuestInfo, readInterfaces } from './guest-info.ts';
import type { Pool } from './pool.ts';
import { powerOf } from './power.ts';
import { PROC, type Procedure } from './procedures.ts';
import { refOf } from './read-domain.ts';
import type { DomainRef } from './types.ts';

export interface GuestAgentOptions {
  /** For nothing else. */
  readonly agent: Pool;
  readonly quick: Pool;
  readonly cache: DomainCache;
  readonly clock: Clock;
  /** Resolves when libvirt is there. */
  ready(what: string): Promise<void>;
}

const ALL = 0;
const FROM_AGENT = 1;
const BY_AGENT = 2;
const QUICK_S = 5;
/** Flushing what a guest has in memory takes a while. */
const FREEZE_S = 60;
const THAW_S = 20;
/** Reading is several questions to the guest. */
const READ_DEADLINE_MS = 40_000;
const SYNC_MS = 5_000;
const STATE_DEADLINE_MS = 5_000;
/** libvirt waits for the guest's end; an agent that refuses does so at once. */
const TAKEN_MS = 3_000;
/** A domain whose QEMU has ended is off for libvirt within milliseconds. */
const OFF_MS = 2_000;
const OFF_LOOK_MS = 50;
const POWER_DEADLINE_MS = 90_000;
const MS = 1_000n;

export class LibvirtGuestAgents implements GuestAgents {
  readonly #listeners = new Set<(e: GuestEvent) => void>();

  constructor(readonly opts: GuestAgentOptions) {}

  async read(uuid: string): Promise<GuestSaid> {
    const dom = this.#ref(uuid);
    const words = 'say what it is';
    const { params } = await this.#ask(
      dom,
      PROC.guestInfo,
      { dom, types: ALL, flags: 0 },
      words,
      QUICK_S,
      READ_DEADLINE_MS,
    );
    const said = readGuestInfo(params);
    if (said.interfaces !== undefined) return said;
    const args = { dom, source: FROM_AGENT, flags: 0 };
    const { interfaces } = await this.#ask(dom, PROC.interfaceAddresses, args, 'say its addresses', QUICK_S);
    return { ...said, interfaces: readInterfaces(interfaces) };
  }

  async readTime(uuid: string): Promise<number> {
    const dom = this.#ref(uuid);
    const { seconds, nanoseconds } = await this.#ask(dom, PROC.getTime, { dom, flags: 0 }, 'say the time', QUICK_S);
    return Number(seconds) * 1_000 + Math.floor(nanoseconds / 1e6);
  }

  async setTime(uuid: string, atMs: number): Promise<void> {
    const dom = this.#ref(uuid);
    const at = BigInt(Math.trunc(atMs));
    const args = { dom, seconds: at / MS, nanoseconds: Number(at % MS) * 1e6, flags: 0 };
    await this.#ask(dom, PROC.setTime, args, 'set its clock', QUICK_S);
  }

  async freeze(uuid: string): Promise<number> {
    const dom = this.#ref(uuid);
    const args = { dom, mountPoints: [], flags: 0 };
    return (await this.#ask(dom, PROC.freeze, args, 'freeze its file systems', FREEZE_S)).fileSystems;
  }

  async thaw(uuid: string): Promise<number> {
    const dom = this.#ref(uuid);
    const args = { dom, mountPoints: [], flags: 0 };
    return (await this.#ask(dom, PROC.thaw, args, 'thaw its file systems', THAW_S)).fileSystems;
  }

  async setPassword(uuid: string, user: string, password: string): Promise<void> {
    const dom = this.#ref(uuid);
    await this.#ask(
      dom,
      PROC.setUserPassword,
      { dom, user, password, flags: 0 },
      `set the password of ${user}`,
      QUICK_S,
    );
  }

  async run(uuid: string, program: GuestProgram): Promise<number> {
    return this.#command(uuid, execCommand(program), `run ${program.program}`, readPid);
  }

  async look(uuid: string, pid: number): Promise<GuestProcess> {
    return this.#command(uuid, statusCommand(pid), `say what became of process ${pid}`, readProcess);
  }

  async ask(uuid: string, action: 'shutdown' | 'reboot'): Promise<void> {
    const dom = this.#ref(uuid);
    const procedure = action === 'shutdown' ? PROC.shutdown : PROC.reboot;
    await this.#ready(dom);
    const over = new AbortController();
    const call = this.#call(dom, procedure, { dom, flags: BY_AGENT }, action, QUICK_S, POWER_DEADLINE_MS);
    const asked = call.catch((e: unknown) => this.#unlessOff(e, dom, action));
    const taken = this.opts.clock.sleep(TAKEN_MS + 2 * QUICK_S * 1_000, over.signal).catch(() => undefined);
    try {
      await Promise.race([asked, taken]);
    } finally {
      over.abort();
      asked.catch(() => undefined); // what becomes of it later, its guest shows
    }
  }

  subscribe(listener: (e: GuestEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** For whoever hears libvirt's events. */
  tell(e: GuestEvent): void {
    for (const listener of this.#listeners) listener(e);
  }

  #ref(uuid: string): DomainRef {
    return refOf(uuid, this.opts.cache.find(uuid)?.name);
  }

  async #command<T>(uuid: string, command: string, words: string, read: (answer: string | undefined) => T): Promise<T> {
    const dom = this.#ref(uuid);
    const { result } = await this.#ask(
      dom,
      PROC.agentCommand,
      { dom, command, seconds: QUICK_S, flags: 0 },
      words,
      QUICK_S,
    );
    try {
      return read(result);
    } catch (e) {
      throw agentRefused(dom.name, words, wordsOf(e), 'BAD_STATE');
    }
  }

  /** @param seconds for one answer. @param deadlineMs for all of it. */
  async #ask<A, R>(
    dom: DomainRef,
    procedure: Procedure<A, R>,
    args: A,
    words: string,
    seconds: number,
    deadlineMs = SYNC_MS + seconds * 1_000 + SYNC_MS,
  ): Promise<R> {
    await this.#ready(dom);
    try {
      return await this.#call(dom, procedure, args, words, seconds, deadlineMs);
    } catch (e) {
      throw await this.#meaning(e, dom, words);
    }
  }

  #ready(dom: DomainRef): Promise<void> {
    return this.opts.ready(`ask the guest agent of domain ${dom.name}`);
  }

  async #call<A, R>(
    dom: DomainRef,
    procedure: Procedure<A, R>,
    args: A,
    words: string,
    seconds: number,
    deadlineMs: number,
  ): Promise<R> {
    await this.opts.agent.call(PROC.agentTimeout, { dom, seconds, flags: 0 }, words, deadlineMs);
    return this.opts.agent.call(procedure, args, words, deadlineMs);
  }

  /** A guest may be off before libvirt has read its agent's answer: all that libvirt says then is that the channel has ended. */
  async #unlessOff(e: unknown, dom: DomainRef, words: string): Promise<void> {
    if (!hasCode(e, CODE.internal) || !(await this.#goesOff(dom))) throw await this.#meaning(e, dom, words);
  }

  async #goesOff(dom: DomainRef): Promise<boolean> {
    const { clock, quick } = this.opts;
    for (const end = clock.monotonic() + OFF_MS; clock.monotonic() < end; await clock.sleep(OFF_LOOK_MS)) {
      const { state, reason } = await quick.call(
        PROC.getState,
        { dom, flags: 0 },
        'see whether it is off',
        STATE_DEADLINE_MS,
      );
      if (powerOf(state, reason).power === 'stopped') return true;
    }
    return false;
  }

  async #meaning(e: unknown, { name, uuid }: DomainRef, words: string): Promise<unknown> {
    const silent = [CODE.agentUnsynced, CODE.agentCommandTimeout, CODE.operationTimeout];
    if (isDeadline(e) || hasCode(e, ...silent)) return silentAgent(name);
    if (hasCode(e, CODE.argumentUnsupported)) return noChannel(name);
    if (hasCode(e, CODE.agentUnresponsive)) return (await this.#isConnected(uuid)) ? silentAgent(name) : noAgent(name);
    if (hasCode(e, CODE.agentCommandFailed, CODE.internal)) return agentRefused(name, words, wordsOf(e), 'BAD_STATE');
    if (hasCode(e, CODE.operationUnsupported, CODE.configUnsupported, CODE.noSupport))
      return agentRefused(name, words, wordsOf(e), 'UNSUPPORTED');
    return e;
  }

  /** libvirt has one number for an agent that is not there and one that does not answer: QEMU knows whether it is there. */
  async #isConnected(uuid: string): Promise<boolean> {
    const args = { dom: refOf(uuid), flags: 0 };
    const { xml } = await this.opts.quick
      .call(PROC.getXml, args, 'look for a guest agent', STATE_DEADLINE_MS)
      .catch(() => ({ xml: `name='org.qemu.guest_agent.0' state='connected'` }));
    return /name='org\.qemu\.guest_agent\.0' state='connected'/.test(xml);
  }
}

/** libvirt's words around those of the guest's agent say nothing to people; and they are a guest's words: one line, not long. */
const wordsOf = (e: unknown): string =>
  oneLine(
    (e as Error).message
      .replace(/^libvirt could not .*?: /, '')
      .replace(/^.*unable to execute QEMU agent command '[^']*': /, ''),
    300,
  );
