/**
 * What people ask of a guest through its agent: the time, freeze and thaw, a password, its end. Each is asked once; nothing is
 * tried again by itself, and nothing that is secret is kept or told. Running programs is guest-run.ts's.
 */
import { badState, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { FREEZE_LONGEST_MS, type GuestSeen } from '@berth/shared/model/guest.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { DomainRef, Domains } from '../domain/domains.ts';
import { troubleOf } from '../drivers/guest-agents.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { Freezes } from './freezes.ts';
import type { Guests } from './guests.ts';

export interface GuestVerbsDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<Hypervisor, 'guests'>;
  readonly guests: Pick<Guests, 'alone' | 'read' | 'find'>;
  readonly freezes: Pick<Freezes, 'find' | 'put' | 'forget'>;
  readonly operations: Operations;
  readonly clock: Clock;
}

export interface AskPower extends DomainRef {
  readonly action: 'shutdown' | 'reboot';
}

const SHORTEST_FREEZE_MS = 1_000;
/** The freezing itself may take so long; until it has ended, the deadline is later by this. */
const FREEZING_MS = 60_000;
const LONGEST_PASSWORD = 512;
const USER = /^[^\x00-\x1f\x7f:]{1,64}$/;

export class GuestVerbs {
  readonly askPower: OperationKind<AskPower>;

  constructor(private readonly deps: GuestVerbsDeps) {
    this.askPower = deps.operations.define<AskPower>({
      name: 'guest.askPower',
      lockKey: ({ uuid }) => `agent/${uuid}`,
      run: ({ action, ...ref }) => this.onRunning(ref, (uuid) => this.agents.ask(uuid, action)),
    });
  }

  async read(ref: DomainRef): Promise<GuestSeen> {
    const name = await this.needRunning(ref);
    const freeze = this.deps.freezes.find(ref.uuid);
    if (freeze) throw frozen(name);
    const seen = await this.deps.guests.read(ref.uuid);
    if (seen === undefined) throw badState(`vm ${name} went off while its guest was asked`);
    return { ...seen, clockOffsetMs: await this.offset(ref.uuid) };
  }

  /** Gives what its clock was off by, if that could be read. */
  async syncTime(ref: DomainRef): Promise<number | undefined> {
    await this.refuseFrozen(ref);
    return this.onRunning(ref, async (uuid) => {
      const before = await this.offsetNow(uuid);
      await this.agents.setTime(uuid, this.deps.clock.now());
      return before;
    });
  }

  async freeze(ref: DomainRef, thawAfterMs: number): Promise<{ fileSystems: number; thawAtMs: number }> {
    if (!(thawAfterMs >= SHORTEST_FREEZE_MS && thawAfterMs <= FREEZE_LONGEST_MS))
      throw invalidArgument(`file systems may stay frozen for 1 s to ${FREEZE_LONGEST_MS / 60_000} min`);
    const name = await this.needRunning(ref);
    const { freezes, guests, clock } = this.deps;
    return guests.alone(ref.uuid, async () => {
      if (freezes.find(ref.uuid)) throw frozen(name);
      await this.insistAnswers(ref.uuid);
      const begun = { ...ref, name, atMs: clock.now() };
      await freezes.put({ ...begun, thawAtMs: clock.now() + FREEZING_MS + thawAfterMs });
      const fileSystems = await this.agents.freeze(ref.uuid).catch((e: unknown) => this.unfreeze(ref.uuid, e));
      const thawAtMs = clock.now() + thawAfterMs;
      await freezes.put({ ...begun, thawAtMs });
      return { fileSystems, thawAtMs };
    });
  }

  async thaw(ref: DomainRef): Promise<number> {
    return this.onRunning(ref, async (uuid) => {
      const fileSystems = await this.agents.thaw(uuid);
      await this.deps.freezes.forget(uuid);
      return fileSystems;
    });
  }

  async setPassword(ref: DomainRef, user: string, password: string): Promise<void> {
    if (!USER.test(user))
      throw invalidArgument('a user of a guest is 1 to 64 letters without : and control characters');
    if (password === '' || password.length > LONGEST_PASSWORD || /[\x00\n\r]/.test(password))
      throw invalidArgument(`a password is 1 to ${LONGEST_PASSWORD} letters on one line`);
    await this.refuseFrozen(ref);
    await this.onRunning(ref, (uuid) => this.agents.setPassword(uuid, user, password));
  }

  private get agents(): Hypervisor['guests'] {
    return this.deps.hypervisor.guests;
  }

  /** An agent that hangs already is not asked to freeze: nobody could tell whether it did. */
  private async insistAnswers(uuid: string): Promise<void> {
    await this.agents.readTime(uuid).catch(unlessRefused);
  }

  /** What became of a freeze that failed is not known: thaw it, now or at the deadline. */
  private async unfreeze(uuid: string, why: unknown): Promise<never> {
    if (troubleOf(why) === 'absent') {
      await this.deps.freezes.forget(uuid);
      throw why;
    }
    await this.agents.thaw(uuid).then(
      () => this.deps.freezes.forget(uuid),
      () => undefined,
    );
    throw why;
  }

  private async offset(uuid: string): Promise<number | undefined> {
    return this.deps.guests.alone(uuid, () => this.offsetNow(uuid));
  }

  /** Between the asking and the answer lies time: the middle of it is meant. An agent need not know the time. */
  private async offsetNow(uuid: string): Promise<number | undefined> {
    const { clock } = this.deps;
    const asked = clock.now();
    const said = await this.agents.readTime(uuid).catch(unlessRefused);
    return said === undefined ? undefined : Math.round(said - (asked + clock.now()) / 2);
  }

  private async refuseFrozen(ref: DomainRef): Promise<void> {
    if (this.deps.freezes.find(ref.uuid)) throw frozen(await this.needRunning(ref));
  }

  private async onRunning<T>(ref: DomainRef, work: (uuid: string) => Promise<T>): Promise<T> {
    await this.needRunning(ref);
    return this.deps.guests.alone(ref.uuid, () => work(ref.uuid));
  }

  private async needRunning(ref: DomainRef): Promise<string> {
    const { name, power } = await this.deps.domains.need(ref);
    if (power !== 'running') throw badState(`vm ${name} is ${power} on its host; its guest can be asked when it runs`);
    return name;
  }
}

/** An agent may be too old for it, or forbid it. */
function unlessRefused(e: unknown): undefined {
  if (troubleOf(e) !== 'refused') throw e;
  return undefined;
}

const frozen = (vm: string): Error =>
  badState(`the file systems of vm ${vm} are frozen, and its guest answers nothing else: berth vm thaw ${vm}`);
