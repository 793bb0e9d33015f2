/** What the agent counts while it works: calls of the controller, and its own calls of libvirt. No I/O. */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Exposition } from '@berth/shared/metrics/exposition.ts';
import { Counter, Histogram } from '@berth/shared/metrics/instruments.ts';
import type { AgentFamilies } from './families.ts';

/** `ok`, or the reason of the error. */
const resultOf = (e: unknown): string => (e === undefined ? 'ok' : isClusterError(e) ? e.reason : 'INTERNAL');

/** Told of each call when it has ended. @param ms undefined: it went on for long by its nature. */
export type Told = (name: string, ms: number | undefined, error?: unknown) => void;

export class CallMeter {
  private readonly results: Counter;
  private readonly durations: Histogram;

  constructor(labelName: string) {
    this.results = new Counter([labelName, 'result']);
    this.durations = new Histogram([labelName]);
  }

  readonly told: Told = (name, ms, error) => {
    this.results.add(1, name, resultOf(error));
    if (ms !== undefined) this.durations.observe(ms / 1000, name);
  };

  write(to: Exposition<AgentFamilies>, of: 'berth_agent_requests' | 'berth_agent_libvirt_requests'): void {
    const durations = {
      berth_agent_requests: 'berth_agent_request_duration_seconds',
      berth_agent_libvirt_requests: 'berth_agent_libvirt_request_duration_seconds',
    } as const;
    this.results.write(to, `${of}_total`);
    this.durations.write(to, durations[of]);
  }
}

export interface Meters {
  readonly requests: CallMeter;
  readonly libvirt: CallMeter;
}

export const createMeters = (): Meters => ({
  requests: new CallMeter('method'),
  libvirt: new CallMeter('procedure'),
});
