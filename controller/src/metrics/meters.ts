/** What the controller counts while it works. Told by those who do the work; reads nothing and decides nothing. */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Exposition } from '@berth/shared/metrics/exposition.ts';
import { Counter, Histogram } from '@berth/shared/metrics/instruments.ts';
import type { Placement } from '../scheduler/place.ts';
import type { ControllerFamilies } from './families.ts';

type Out = Exposition<ControllerFamilies>;

/** `ok`, or the reason of the error; of an error of gRPC itself its code. */
function resultOf(e: unknown): string {
  if (e === undefined) return 'ok';
  const code = (e as { code?: unknown } | null)?.code;
  return isClusterError(e) ? e.reason : typeof code === 'number' ? `grpc-${code}` : 'INTERNAL';
}

/** `/berth.v1.VmService/StartVm` → `VmService/StartVm` */
const short = (path: string): string => path.replace(/^\/[\w.]*\.(?=\w+\/)/, '');

/** Calls that begin and end. */
export class CallMeter {
  readonly results = new Counter(['method', 'result']);
  readonly durations = new Histogram(['method']);
  under = 0;

  constructor(private readonly clock: { monotonic(): number }) {}

  /** @param long goes on for long by its nature: then how long says nothing. @returns what ends it. */
  begin(path: string, long = false): (e?: unknown) => void {
    const began = this.clock.monotonic();
    const method = short(path);
    this.under++;
    return (e) => {
      this.under--;
      this.results.add(1, method, resultOf(e));
      if (!long) this.durations.observe((this.clock.monotonic() - began) / 1000, method);
    };
  }
}

/** Decisions of the scheduler: up to ten times a millisecond. */
const QUICK_SECONDS = [0.000_1, 0.000_5, 0.002_5, 0.01, 0.05, 0.25, 1, 5];

export class Meters {
  readonly requests: CallMeter;
  readonly agentRequests: CallMeter;
  readonly lag = new Histogram([], QUICK_SECONDS);
  private readonly commits = new Histogram();
  private readonly updates = new Counter();
  private readonly placements = new Counter(['result']);
  private readonly refusals = new Counter(['reason'], 100);
  private readonly placing = new Histogram([], QUICK_SECONDS);

  constructor(private readonly clock: { monotonic(): number }) {
    this.requests = new CallMeter(clock);
    this.agentRequests = new CallMeter(clock);
  }

  /** @param updates that share the commit. @returns what ends it. */
  readonly commit = (updates: number): (() => void) => {
    const began = this.clock.monotonic();
    return () => {
      this.commits.observe((this.clock.monotonic() - began) / 1000);
      this.updates.add(updates);
    };
  };

  /** Runs `choose`, and counts what came of it. */
  place(choose: () => Placement): Placement {
    const began = this.clock.monotonic();
    const placement = choose();
    this.placing.observe((this.clock.monotonic() - began) / 1000);
    this.placements.add(1, 'hostId' in placement ? 'placed' : 'refused');
    if ('refusals' in placement) for (const r of placement.refusals) this.refusals.add(1, r.filter);
    return placement;
  }

  /** @param pending updates that wait for a commit */
  write(to: Out, pending: number): void {
    this.lag.write(to, 'berth_controller_event_loop_lag_seconds');
    this.requests.results.write(to, 'berth_controller_requests_total');
    this.requests.durations.write(to, 'berth_controller_request_duration_seconds');
    to.add('berth_controller_requests', this.requests.under);
    this.agentRequests.results.write(to, 'berth_controller_agent_requests_total');
    this.agentRequests.durations.write(to, 'berth_controller_agent_request_duration_seconds');
    to.add('berth_controller_agent_requests', this.agentRequests.under);
    this.commits.write(to, 'berth_database_commit_duration_seconds');
    this.updates.write(to, 'berth_database_commit_updates_total');
    to.add('berth_database_updates_pending', pending);
    this.placements.write(to, 'berth_placements_total');
    this.refusals.write(to, 'berth_placement_refusals_total');
    this.placing.write(to, 'berth_placement_duration_seconds');
  }
}
