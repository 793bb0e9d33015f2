/**
 * What a simulated host remembers of operations, and how calls and operations go wrong there: lost before or after they
 * worked, early or late effects. What operations do is fake-host.ts's.
 */
import type { ImageOutcome, OperationView } from '@berth/controller/hosts/agent-client.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { FakeImage } from './fake-host-parts.ts';
import { mayTryAgain, view, type Operation } from './fake-operation.ts';

/** What the host asks of the cluster around it. */
export interface FakeCluster {
  /** Uniform in [0, 1). */
  random(): number;
  /** Fresh digests: no two conversions make the same one unless the file was the same. */
  peer(hostId: string): FakeLedger | undefined;
  /** A domain changed power, or an operation ended or wants a source. */
  changed(host: FakeLedger, what: { vmId?: string; operationId?: string }): void;
  /** After some time, where there is time; else at once. */
  later(fn: () => void): void;
  /** After some time, where there is time; else never: then operations end after some looks. */
  tick(fn: () => void): unknown;
  readonly timed: boolean;
}

export abstract class FakeLedger {
  /** The machine runs and answers. */
  up = true;
  /** What it serves to others is not the image. */
  servesGarbage = false;
  /** How many of a hundred calls get lost, half of them after they worked. */
  lossPercent = 0;
  readonly images = new Map<string, FakeImage>();
  protected readonly operations = new Map<string, Operation>();
  protected readonly tickets = new Set<string>();

  constructor(
    readonly id: string,
    readonly name: string,
    protected readonly cluster: FakeCluster,
  ) {}

  redeem(ticket: string): boolean {
    return this.up && this.tickets.delete(ticket);
  }

  /** A fetch here has found out that its source gives something else than the image. */
  findWrong(operationId: string, hostId: string, why: string): void {
    const op = this.operations.get(operationId)!;
    Object.assign(op, { needsSource: true, peer: undefined, turnedAway: { hostId, why } });
    this.cluster.changed(this, { operationId });
  }

  /** Last state, as a report would tell. */
  operation(id: string): OperationView | undefined {
    const op = this.operations.get(id);
    return op && view(op);
  }

  /** Lets operations that wait for time end, and notices peers that are gone. */
  work(): void {
    for (const op of this.operations.values()) this.look(op);
  }

  protected async call<T>(fn: () => T): Promise<T> {
    await Promise.resolve();
    const lost = (): void => {
      throw new ClusterError('HOST_UNREACHABLE', `${this.name} did not answer`, { phase: 'unknown' });
    };
    if (!this.up || this.cluster.random() * 200 < this.lossPercent) lost();
    const answer = fn();
    if (this.cluster.random() * 200 < this.lossPercent) lost();
    return answer;
  }

  protected operate(id: string, what: unknown, effect: () => ImageOutcome | undefined | void): Promise<OperationView> {
    return this.call(() => {
      const request = JSON.stringify(what);
      const known = this.operations.get(id);
      if (known?.request === 'unknown')
        throw new ClusterError('CANCELLED', `operation ${id} was cancelled before it came`);
      if (known && known.request !== request)
        throw new ClusterError(
          'INVALID_ARGUMENT',
          `operation ${id} was another request: ${known.request} / ${request}`,
        );
      return view(known && !mayTryAgain(known) ? this.look(known) : this.begin(id, request, effect));
    });
  }

  protected record(id: string, request: string): Operation {
    const op: Operation = {
      id,
      request,
      state: request === 'unknown' ? 'cancelled' : 'running',
      error: undefined,
      image: undefined,
      looks: 0,
      needsSource: false,
      peer: undefined,
      effect: undefined,
    };
    this.operations.set(id, op);
    return op;
  }

  private begin(id: string, request: string, effect: () => ImageOutcome | undefined | void): Operation {
    const op = this.record(id, request);
    op.effect = () => effect() ?? undefined;
    const fetch = /^\["fetchImage",\{"digest":"([^"]+)"/.exec(request);
    if (fetch && !this.images.has(fetch[1] as string)) {
      op.needsSource = true;
      return op;
    }
    this.run(op);
    return op;
  }

  protected run(op: Operation): void {
    op.looks = Math.floor(this.cluster.random() * 3);
    // an image is installed with the end of its operation, as a whole; anything else may be there early
    const early = !/^\["(import|fetch)Image/.test(op.request) && this.cluster.random() < 0.5;
    if (early || op.looks === 0) this.apply(op);
    if (op.looks === 0) this.end(op);
    else this.cluster.tick(() => this.look(op));
  }

  protected look(op: Operation): Operation {
    if (op.state !== 'running' || op.needsSource) return op;
    if (op.peer !== undefined && this.cluster.peer(op.peer)?.up !== true) {
      op.needsSource = true;
      this.cluster.changed(this, { operationId: op.id });
      return op;
    }
    if (op.looks-- > 0) {
      this.cluster.tick(() => this.look(op));
      return op;
    }
    this.apply(op);
    return this.end(op);
  }

  private apply(op: Operation): void {
    const { effect } = op;
    op.effect = undefined;
    try {
      op.image = effect?.() ?? op.image;
    } catch (e) {
      if (!isClusterError(e)) throw e;
      op.error = { reason: e.reason, message: e.message, meta: e.meta };
    }
  }

  private end(op: Operation): Operation {
    op.state = op.error ? 'failed' : 'succeeded';
    this.cluster.changed(this, { operationId: op.id });
    return op;
  }
}
