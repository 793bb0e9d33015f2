/**
 * Settings of hosts' kernels that Berth keeps: intent first, because placement counts on it, then the host. What the host refuses
 * is taken back. A host that goes away in between gets it when it is back (reconcilers/tuning.ts).
 */
import { badState, ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Tuning, TuningSeen } from '@berth/shared/model/tuning.ts';
import { checkSettingName, checkTuning } from '@berth/shared/tuning/check.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { askOnce } from '../hosts/ask-once.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { failure } from '../jobs/operate.ts';
import { foreignSums } from '../jobs/world.ts';
import { allMemoryBytes, memoryOf, withLargePages } from '../scheduler/capacity.ts';
import type { Policy } from '../scheduler/world.ts';
import type { State, Tx } from '../state/state.ts';
import { resolve } from './names.ts';

export interface TuningDeps {
  readonly state: State;
  readonly hosts: Pick<Hosts, 'status' | 'agent'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly policy: Policy;
}

export interface TuningChange {
  readonly set: Tuning;
  /** Left to the host from now on, as they are. */
  readonly forget: readonly string[];
}

export interface TuningItem extends TuningSeen {
  /** Undefined: Berth leaves it as it is. */
  readonly wanted: string | undefined;
}

export interface TuningView {
  readonly host: Host;
  readonly items: readonly TuningItem[];
  /** It takes its time, and goes on. */
  readonly pending: boolean;
}

/** Many gigabytes of large pages take longer: then the answer comes before the end. */
const ANSWER_AFTER_MS = 15_000;

export class TuningApp {
  /** One change of a host at a time. */
  private readonly turns = new KeyedTurns();

  constructor(private readonly deps: TuningDeps) {}

  /** @throws HOST_UNREACHABLE, UNSUPPORTED, NOT_FOUND. */
  async show(nameOrId: string): Promise<TuningView> {
    const host = resolve('host', this.deps.state.tables.hosts, nameOrId);
    return this.view(host.id, this.ask(host), false);
  }

  /** @throws INVALID_ARGUMENT, BAD_STATE, NO_CAPACITY: then nothing has changed. HOST_UNREACHABLE. */
  async tune(nameOrId: string, change: TuningChange, user: string): Promise<TuningView> {
    const checked = checkChange(change);
    const host = resolve('host', this.deps.state.tables.hosts, nameOrId);
    const agent = this.ask(host);
    const release = await this.turns.take(host.id);
    let open = true;
    const work = this.change(host.id, agent, checked, user).finally(() => {
      open = false;
      release();
    });
    await Promise.race([work, this.deps.clock.sleep(ANSWER_AFTER_MS)]);
    if (open) work.catch((e: unknown) => this.deps.log.warn({ err: e, host: host.name }, 'a host could not be tuned'));
    return this.view(host.id, agent, open);
  }

  private async change(hostId: HostId, agent: AgentClient, change: TuningChange, user: string): Promise<void> {
    const { state } = this.deps;
    const [before, after] = await state.update((tx) => this.intend(tx, hostId, change));
    try {
      if (Object.keys(change.set).length > 0) await applyTuning(agent, after, change.set, this.deps.clock);
    } catch (e) {
      if (isClusterError(e, 'HOST_UNREACHABLE')) throw later(after, e);
      await state.update((tx) => takeBack(tx, hostId, before, after));
      throw e;
    }
    await state.update((tx) => tell(tx, after, `${user} tuned host ${after.name}: ${words(change)}`));
  }

  private intend(tx: Tx, hostId: HostId, { set, forget }: TuningChange): readonly [Host, Host] {
    const before = tx.hosts.get(hostId);
    if (before === undefined) throw badState('the host was removed meanwhile');
    const kept = Object.entries(before.tuning ?? {}).filter(([name]) => !forget.includes(name));
    const after: Host = {
      ...before,
      tuning: { ...Object.fromEntries(kept), ...set },
      generation: before.generation + 1,
    };
    this.checkRoom(tx, before, after);
    tx.hosts.put(after);
    return [before, after];
  }

  /** Large pages are taken from what VMs may be promised; what has been promised stays. */
  private checkRoom(tx: Tx, before: Host, after: Host): void {
    const { hosts, policy } = this.deps;
    const { facts, foreign } = hosts.status(after.id);
    if (facts === undefined) return;
    const room = (h: Host): number => allMemoryBytes(withLargePages(facts, h.tuning), policy);
    const { domainType } = facts;
    const promised =
      memoryOf(tx.claims.sums(after.id).powered, domainType) + memoryOf(foreignSums(foreign).powered, domainType);
    if (room(after) >= Math.min(promised, room(before))) return;
    throw new ClusterError(
      'NO_CAPACITY',
      `with so many large pages host ${after.name} has ${formatBytes(room(after))} for VMs, but ${formatBytes(promised)} are promised: stop VMs there first, or take fewer`,
    );
  }

  private ask(host: Host): AgentClient {
    const agent = this.deps.hosts.agent(host.id);
    needCapability(host, this.deps.hosts.status(host.id).facts, 'host.tuning');
    return agent;
  }

  private async view(hostId: HostId, agent: AgentClient, pending: boolean): Promise<TuningView> {
    const { settings } = await agent.machine.tuning();
    const host = resolve('host', this.deps.state.tables.hosts, hostId);
    const wanted = host.tuning ?? {};
    const gone = Object.keys(wanted).filter((name) => !settings.some((s) => s.name === name));
    const absent = gone.map((name) => ({ name, value: '', choices: [], recommended: '', note: 'not there any more' }));
    const items = [...settings, ...absent].map((s) => ({ ...s, wanted: wanted[s.name] }));
    return { host, items, pending };
  }
}

function checkChange({ set, forget }: TuningChange): TuningChange {
  const checked = { set: checkTuning(set), forget: forget.map(checkSettingName) };
  const both = checked.forget.find((name) => Object.hasOwn(checked.set, name));
  if (both !== undefined) throw invalidArgument(`${both} can't be both set and forgotten`);
  if (checked.forget.length === 0 && Object.keys(checked.set).length === 0)
    throw invalidArgument('what shall be set? Name a setting and its value, such as ksm on');
  return checked;
}

/** Asks the host once. */
export async function applyTuning(
  agent: AgentClient,
  host: Pick<Host, 'name'>,
  wanted: Tuning,
  clock: Pick<Clock, 'now'>,
): Promise<void> {
  try {
    const op = await askOnce(agent, clock, 'tune', (id) => agent.ensureTuning(id, wanted));
    if (op.state !== 'succeeded') throw failure(op);
  } catch (e) {
    throw named(e, host);
  }
}

/** The agent speaks of "this host", which here is one of many. */
const named = (e: unknown, host: Pick<Host, 'name'>): unknown =>
  isClusterError(e)
    ? new ClusterError(e.reason, e.message.replaceAll('this host', `host ${host.name}`), e.meta, { cause: e.cause })
    : e;

/** Unless somebody has changed it again. */
function takeBack(tx: Tx, hostId: HostId, before: Host, after: Host): void {
  const now = tx.hosts.get(hostId);
  if (now === undefined || now.tuning !== after.tuning) return;
  const { tuning: _, ...rest } = now;
  tx.hosts.put({
    ...rest,
    ...(before.tuning === undefined ? {} : { tuning: before.tuning }),
    generation: now.generation + 1,
  });
}

const later = (host: Host, cause: unknown): ClusterError =>
  new ClusterError(
    'HOST_UNREACHABLE',
    `host ${host.name} went away while it was tuned: what is still to be set is set when it is back`,
    {},
    { cause },
  );

const words = ({ set, forget }: TuningChange): string =>
  [
    ...Object.entries(set).map(([name, value]) => `${name} ${value}`),
    ...forget.map((name) => `${name} left to it`),
  ].join(', ');

function tell(tx: Tx, host: Host, message: string): void {
  const event = { type: 'host.tuned', severity: 'info', subjectKind: 'host', subject: host.name } as const;
  tx.event({ ...event, message, jobId: undefined });
}
