/** Writes down for people what became of hosts: state changes that matter, and reports that a host may not make. */
import type { Log } from '@berth/shared/log/log.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { HostState } from '@berth/shared/model/host.ts';
import type { State } from '../state/state.ts';

type Told = Pick<Event, 'type' | 'severity' | 'message'>;

export class Teller {
  constructor(
    private readonly store: State,
    private readonly log: Log,
  ) {}

  state(name: string, change: { before: HostState; state: HostState; reason: string }): void {
    const told = words(name, change);
    if (told) this.record(name, told);
  }

  misreport(name: string, what: string): void {
    this.record(name, { type: 'host.misreported', severity: 'warning', message: `host ${name}: ${what}` });
  }

  private record(subject: string, told: Told): void {
    this.store
      .update((tx) => tx.event({ ...told, subjectKind: 'host', subject, jobId: undefined }))
      .catch((e: unknown) => this.log.error({ err: e, ...told }, 'an event could not be recorded'));
  }
}

function words(name: string, c: { before: HostState; state: HostState; reason: string }): Told | undefined {
  const because = c.reason ? `: ${c.reason}` : '';
  switch (c.state) {
    case 'up':
      if (c.before === 'maintenance') return undefined;
      return { type: 'host.up', severity: 'info', message: `host ${name} is up` };
    case 'unreachable':
      return { type: 'host.unreachable', severity: 'alarm', message: `host ${name} is unreachable${because}` };
    case 'certificate-fault':
      return { type: 'host.certificate-fault', severity: 'alarm', message: `host ${name} can't be trusted${because}` };
    default:
      return undefined;
  }
}
