/**
 * Sets the kernels of hosts again to what they shall be: a reboot forgets it. Looked at when a host comes up; in between a person
 * may have reason to set something by hand, which `berth host tune` shows. Idempotent; twice is once.
 */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Severity } from '@berth/shared/model/event.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { driftOf, type Tuning } from '@berth/shared/model/tuning.ts';
import { applyTuning } from '../app/tuning.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { State } from '../state/state.ts';

export class TuningKeeper {
  /** What people were told of hosts that could not be tuned: once is enough. */
  private readonly told = new Map<HostId, string>();

  constructor(private readonly deps: { readonly state: State; readonly clock: Clock; readonly log: Log }) {}

  /** Never rejects. */
  async see(hostId: HostId, agent: AgentClient): Promise<void> {
    const host = this.deps.state.tables.hosts.get(hostId);
    if (host?.tuning === undefined || Object.keys(host.tuning).length === 0) return;
    try {
      const done = await this.restore(host, host.tuning, agent);
      this.told.delete(hostId);
      if (done !== '') await this.tell(hostId, 'host.tuned', `was set again: ${done}`, 'info');
    } catch (e) {
      // one that is away again is looked at when it is back
      if (isClusterError(e, 'HOST_UNREACHABLE')) return;
      const words = `could not be tuned as wanted: ${chain(e).split('\n')[0]}`;
      if (this.told.get(hostId) === words) return;
      this.told.set(hostId, words);
      await this.tell(hostId, 'host.tuning-failed', words, 'warning');
    }
  }

  /** One by one, so that a disk that is gone keeps nothing else from its place. @returns in words what was set. */
  private async restore(host: Host, wanted: Tuning, agent: AgentClient): Promise<string> {
    const drift = Object.entries(driftOf(wanted, (await agent.machine.tuning()).settings));
    let fault: unknown;
    const done: string[] = [];
    for (const [name, value] of drift)
      try {
        await applyTuning(agent, host, { [name]: value }, this.deps.clock);
        done.push(`${name} ${value}`);
      } catch (e) {
        fault ??= e;
      }
    if (fault !== undefined) throw fault;
    return done.join(', ');
  }

  private async tell(hostId: HostId, type: string, what: string, severity: Severity): Promise<void> {
    const { state, log } = this.deps;
    try {
      await state.update((tx) => {
        const host = tx.hosts.get(hostId);
        if (host === undefined) return;
        const event = { type, severity, subjectKind: 'host', subject: host.name } as const;
        tx.event({ ...event, message: `host ${host.name} ${what}`, jobId: undefined });
      });
    } catch (e) {
      log.error({ err: e, hostId }, 'the tuning of a host could not be told of');
    }
  }
}
