/**
 * Pays the cleanup debts of a host: removes what jobs could not undo while it was silent. Runs when the host reconnects,
 * before it counts as up; when a debt is made while it is up; and again, less and less often, while something can't be
 * removed. Idempotent; twice is once. Domains and operations must be gone first (a guest must not run twice); a volume or
 * image that can't be removed is told of and does not keep the host away. A copy of an image that has been brought there again since is no debt any more.
 */
import { chain, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { AgentClient, OperationView } from '../hosts/agent-client.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { isComing } from '../jobs/copies-wanted.ts';
import { sharesDigest } from '../jobs/image-digests.ts';
import type { State } from '../state/state.ts';

const ORDER = ['operation', 'domain', 'volume', 'image'] as const;
const POLL_MS = 500;
const MOST_POLLS = 240;
const FIRST_RETRY_MS = 5_000;
const LAST_RETRY_MS = 30 * 60_000;

export interface DebtDeps {
  readonly state: State;
  readonly clock: Clock;
  readonly log: Log;
  /** One process life: makes the ids of tries differ, because an agent answers a failed one the same for ever. */
  readonly runId: string;
}

interface Retry {
  timer: Timer | undefined;
  rounds: number;
}

export class Debts {
  private tries = 0;
  private readonly paying = new Map<HostId, Promise<void>>();
  private readonly retries = new Map<HostId, Retry>();
  /** Debts that could not be paid → what people were told of it. */
  private readonly failed = new Map<string, string>();

  constructor(private readonly deps: DebtDeps) {}

  /** Undefined when nothing is owed; rejects when something that must go first could not be removed. */
  pay(hostId: HostId, agent: AgentClient): Promise<void> | undefined {
    const under = this.paying.get(hostId);
    if (under) return under;
    if (this.owed(hostId).length === 0) return undefined;
    const work = this.payAll(hostId, agent).finally(() => this.paying.delete(hostId));
    this.paying.set(hostId, work);
    return work;
  }

  /** Pays from now on what is owed by hosts that are up. @returns a function that ends it. */
  follow(hosts: Pick<Hosts, 'agent' | 'subscribe'>): () => void {
    const ends = [
      this.deps.state.subscribe((c) => (c.touched.has('debts') || c.touched.has('reviews')) && this.look(hosts)),
      hosts.subscribe((e) => e.type === 'host' && this.look(hosts)),
    ];
    return () => {
      for (const end of ends) end();
      for (const { timer } of this.retries.values()) timer?.cancel();
      this.retries.clear();
    };
  }

  private owed(hostId: HostId): CleanupDebt[] {
    return [...this.deps.state.tables.debts.byHost(hostId)];
  }

  /** What was never tried is paid at once; what has failed waits for its turn. */
  private look(hosts: Pick<Hosts, 'agent'>): void {
    const all = [...this.deps.state.tables.debts.values()];
    for (const id of this.failed.keys()) if (!this.deps.state.tables.debts.get(id)) this.failed.delete(id);
    for (const hostId of new Set(all.map((d) => d.hostId))) {
      // restored: what was owed then may be a VM that people want now
      if (this.deps.state.tables.reviews.get(hostId)) continue;
      const isNew = this.owed(hostId).some((d) => !this.failed.has(d.id));
      if (isNew || !this.retries.has(hostId)) void this.payWhatIsLeft(hostId, hosts);
    }
  }

  private async payWhatIsLeft(hostId: HostId, hosts: Pick<Hosts, 'agent'>): Promise<void> {
    const retry = this.retries.get(hostId) ?? { timer: undefined, rounds: 0 };
    retry.timer?.cancel();
    try {
      await this.pay(hostId, hosts.agent(hostId));
    } catch (e) {
      // a host that is away owes until it is back, and then pays before it counts as up
      if (isClusterError(e, 'HOST_UNREACHABLE')) return void this.retries.delete(hostId);
    }
    if (this.owed(hostId).length === 0) return void this.retries.delete(hostId);
    const ms = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(retry.rounds++, 16));
    retry.timer?.cancel();
    retry.timer = this.deps.clock.after(ms, () => void this.payWhatIsLeft(hostId, hosts));
    this.retries.set(hostId, retry);
  }

  private async payAll(hostId: HostId, agent: AgentClient): Promise<void> {
    const tried = new Set<string>();
    for (;;) {
      const debts = this.owed(hostId).filter((d) => !tried.has(d.id));
      if (debts.length === 0) break;
      debts.sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
      for (const debt of debts) await this.payOne(debt, agent);
      // others may have been made meanwhile
      for (const debt of debts) tried.add(debt.id);
    }
    await agent.acknowledgeOperations([`debt.${this.deps.runId}.`]);
  }

  private async payOne(debt: CleanupDebt, agent: AgentClient): Promise<void> {
    const id = `debt.${this.deps.runId}.${++this.tries}`;
    const { tables } = this.deps.state;
    // whether it is wanted in the end is known when it has come; what is removed now would be missing then
    if (debt.kind === 'image' && isComing(tables, debt.target, debt.hostId)) return void this.failed.set(debt.id, '');
    const wanted = debt.kind === 'image' && sharesDigest(tables, debt.target, debt.hostId);
    try {
      if (!wanted) await this.remove(debt, id, agent);
    } catch (e) {
      const waits = debt.kind === 'domain' || debt.kind === 'operation' || isClusterError(e, 'HOST_UNREACHABLE');
      this.deps.log.warn({ debt: debt.id, target: debt.target, err: e }, 'a cleanup debt could not be paid');
      const words = `could not remove ${debt.kind} ${debt.target}: ${chain(e)}`;
      const isNews = this.failed.get(debt.id) !== words;
      this.failed.set(debt.id, words);
      if (waits) throw new ClusterError('BAD_STATE', `${debt.kind} ${debt.target}`, {}, { cause: e });
      if (isNews) await this.tell(debt, 'host.cleanup-failed', words);
      return;
    }
    await this.deps.state.update((tx) => tx.debts.delete(debt.id));
    if (wanted) return;
    await this.tell(debt, 'host.cleaned', `removed ${debt.kind} ${debt.target} (${debt.why})`);
  }

  private async remove(debt: CleanupDebt, id: string, agent: AgentClient): Promise<void> {
    switch (debt.kind) {
      case 'operation':
        return this.cancel(debt, id, agent);
      case 'domain': {
        const domain = { uuid: debt.target, vmId: debt.vmId ?? '' };
        await this.finish(await agent.forceOffDomain(`${id}.off`, domain), agent);
        await this.finish(await agent.removeDomain(`${id}.remove`, domain), agent);
        return;
      }
      case 'volume':
        await this.finish(await agent.removeVolume(`${id}.remove`, debt.target), agent);
        return;
      case 'image':
        await this.finish(await agent.removeImage(`${id}.remove`, debt.target), agent);
    }
  }

  /** An import that had ended before it could be cancelled made an image whose digest nobody could note. */
  private async cancel(debt: CleanupDebt, id: string, agent: AgentClient): Promise<void> {
    const { image } = await agent.cancelOperation(debt.target);
    if (!image?.digest || sharesDigest(this.deps.state.tables, image.digest, debt.hostId)) return;
    try {
      await this.finish(await agent.removeImage(`${id}.remove`, image.digest), agent);
    } catch (e) {
      if (!isClusterError(e, 'IN_USE')) throw e;
    }
  }

  private async finish(first: OperationView, agent: AgentClient): Promise<void> {
    let view: OperationView | undefined = first;
    for (let n = 0; view?.state === 'running' && n < MOST_POLLS; n++) {
      await new Promise<void>((resolve) => this.deps.clock.after(POLL_MS, resolve));
      view = await agent.findOperation(first.id);
    }
    if (view?.state === 'succeeded') return;
    const { reason = 'INTERNAL', message = 'it did not end' } = view?.error ?? {};
    throw new ClusterError(isReason(reason) ? reason : 'INTERNAL', message);
  }

  private tell(debt: CleanupDebt, type: string, what: string): Promise<void> {
    return this.deps.state.update((tx) => {
      const name = tx.hosts.get(debt.hostId)?.name ?? debt.hostId;
      const severity = type === 'host.cleaned' ? 'info' : 'warning';
      tx.event({
        type,
        severity,
        subjectKind: 'host',
        subject: name,
        message: `host ${name}: ${what}`,
        jobId: undefined,
      });
    });
  }
}
