/**
 * Runs operations: each id once, whatever the network does. Short ones answer within the call; long ones run apart, in
 * bounded numbers and in order of arrival, and are taken up again after a restart. What they do is in the kinds that
 * services define (domain/, volume/, network/).
 */
import { ClusterError, chain, invalidArgument, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { REASONS } from '@berth/shared/errors/reasons.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { newTraceId } from '@berth/shared/runtime/random.ts';
import { KeyedTurns, Turns } from '@berth/shared/runtime/turns.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { ImageOutcome, Ledger, LedgerEntry, OperationFailure } from './ledger.ts';
import {
  checkOperationId,
  running,
  viewOf,
  type OperationKind,
  type OperationListener,
  type OperationView,
  type Work,
} from './operation.ts';
import { requestHash } from './request-hash.ts';

interface Live {
  readonly kind: OperationKind<unknown>;
  readonly request: unknown;
  readonly hash: string;
  readonly abort: AbortController;
  view: OperationView;
  detail?: string;
  cancelled: boolean;
  /** It cannot be taken back any more: a cancel waits for its end. */
  mustEnd: boolean;
  /** It ran when the agent ended, so it may have done its work already. */
  readonly recovered: boolean;
  /** Resolves when the ledger has it. */
  started: Promise<void>;
  result: Promise<OperationView>;
}

const PROGRESS_EVERY_MS = 500;

export class Operations {
  private readonly kinds = new Map<string, { kind: OperationKind<unknown>; turns: Turns | undefined }>();
  private readonly live = new Map<string, Live>();
  private readonly locks = new KeyedTurns();
  private readonly listeners = new Set<OperationListener>();
  private readonly progress = new Map<string, Timer>();
  private stopping = false;

  constructor(
    private readonly ledger: Ledger,
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  define<R>(kind: OperationKind<R>): OperationKind<R> {
    const turns = kind.long && new Turns(kind.long.atOnce);
    this.kinds.set(kind.name, { kind: kind as OperationKind<unknown>, turns });
    return kind;
  }

  /** Takes up what ran when the agent ended. Short operations are forgotten: the controller repeats its call. */
  async recover(): Promise<void> {
    for (const e of [...this.ledger.entries()]) {
      const known = this.kinds.get(e.kind);
      if (e.state !== 'running' || e.kind.startsWith('~')) continue;
      if (known?.kind.long) this.begin(known.kind, e, Promise.resolve(), true);
      else await this.ledger.drop(e.id);
    }
  }

  /**
   * Short kinds: the end, or a refusal as an error. Long kinds: how it stands now.
   * @throws CANCELLED after a cancel; INVALID_ARGUMENT when the id belongs to another request.
   */
  async run<R>(kind: OperationKind<R>, id: string, request: R): Promise<OperationView> {
    checkOperationId(id);
    const hash = requestHash(kind.name, request);
    const entry = this.ledger.get(id);
    const live = this.live.get(id);
    const knownHash = live?.hash ?? entry?.hash;
    if (entry?.state === 'cancelled') throw new ClusterError('CANCELLED', `operation ${id} was cancelled`);
    if (knownHash !== undefined && knownHash !== hash)
      throw invalidArgument(`operation id ${id} was used for another request; every request needs an id of its own`);
    if (live) return this.answer(live);
    if (entry && !entry.again) return viewOf(entry);
    const put = { id, kind: kind.name, hash, request: kind.long ? request : undefined, state: 'running' as const };
    const saved = this.ledger.put({ ...put, failure: undefined, again: false, image: undefined });
    return this.answer(this.begin(kind as OperationKind<unknown>, { id, hash, request }, saved));
  }

  /** @throws NOT_FOUND */
  get(id: string): OperationView {
    checkOperationId(id);
    const live = this.live.get(id)?.view;
    const entry = this.ledger.get(id);
    if (live) return live;
    if (entry === undefined || hidden(entry)) throw notFound(`this host has no record of operation ${id}`);
    return viewOf(entry);
  }

  /** For work that is no operation of its own, but must not be done at the same time as those of this key. */
  inTurn<T>(key: string, fn: () => Promise<T>): Promise<T> {
    return this.locks.run(key, fn);
  }

  isRunning(id: string): boolean {
    return this.live.has(id);
  }

  list(): OperationView[] {
    const ended = [...this.ledger.entries()].filter((e) => !hidden(e) && !this.live.has(e.id)).map(viewOf);
    return [...ended, ...[...this.live.values()].map((l) => l.view)];
  }

  /** Ends it if it runs, and leaves a tombstone unless it had ended by itself. */
  async cancel(id: string): Promise<OperationView> {
    checkOperationId(id);
    const live = this.live.get(id);
    if (live) await this.end(live);
    const entry = this.ledger.get(id);
    if (entry && entry.state !== 'running' && (!entry.again || live?.mustEnd)) return viewOf(entry);
    if (entry?.again) await this.abandon(this.kinds.get(entry.kind)?.kind, entry.request);
    return this.bury(id, entry);
  }

  /** Resolves when it no longer runs, cut short if it can be. */
  private async end(live: Live): Promise<void> {
    if (!live.mustEnd) {
      live.cancelled = true;
      await live.started.catch(() => undefined);
      live.abort.abort(new ClusterError('CANCELLED', `operation ${live.view.id} was cancelled`));
    }
    await live.result.catch(() => undefined);
  }

  /** Forgets ended operations whose ids begin so. Each prefix is a job's id and a dot. Gives what was forgotten. */
  async acknowledge(prefixes: readonly string[]): Promise<LedgerEntry[]> {
    const odd = prefixes.find((p) => !/^[A-Za-z0-9_-]{3,}\.[A-Za-z0-9._-]*$/.test(p));
    if (odd !== undefined)
      throw invalidArgument(
        `${JSON.stringify(odd.slice(0, 80))} is not the beginning of operation ids (a job id and a dot)`,
      );
    return this.ledger.acknowledge(prefixes);
  }

  /** Called with every change that is worth telling: ends, needs, and progress at intervals. */
  subscribe(listener: OperationListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Lets go of everything without ending it: the ledger keeps it as running, helpers go on, `recover` takes it up. */
  async stop(): Promise<void> {
    this.stopping = true;
    const all = [...this.live.values()];
    for (const l of all) l.abort.abort(new ClusterError('HOST_UNREACHABLE', 'the agent is stopping; ask again'));
    await Promise.allSettled(all.map((l) => l.result));
    for (const t of this.progress.values()) t.cancel();
  }

  private answer(live: Live): Promise<OperationView> {
    return live.kind.long ? live.started.then(() => live.view) : live.result;
  }

  private begin(
    kind: OperationKind<unknown>,
    { id, hash, request, mustEnd = false }: Pick<LedgerEntry, 'id' | 'hash' | 'request' | 'mustEnd'>,
    started: Promise<void>,
    recovered = false,
  ): Live {
    const abort = new AbortController();
    const live: Live = {
      kind,
      request,
      hash,
      abort,
      view: running(id),
      cancelled: false,
      mustEnd,
      recovered,
      started,
      result: started as never,
    };
    live.result = this.execute(live).finally(() => this.live.delete(id));
    live.result.catch(() => undefined); // whoever asked has it; nobody may be waiting
    this.live.set(id, live);
    return live;
  }

  private async execute(live: Live): Promise<OperationView> {
    await live.started;
    const releases: (() => void)[] = [];
    try {
      await this.waitForTurn(live, releases);
      const image = (await live.kind.run(live.request, this.workOf(live))) ?? undefined;
      return await this.settle(live, { state: 'succeeded', image });
    } catch (e) {
      return await this.failed(live, e);
    } finally {
      for (const release of releases.reverse()) release();
    }
  }

  /**
   * A recovered operation that is cancelled while it waits runs all the same, with its signal aborted: whoever cancels must
   * learn of what it had made before the agent ended.
   */
  private async waitForTurn(live: Live, releases: (() => void)[]): Promise<void> {
    const turns = this.kinds.get(live.kind.name)?.turns;
    try {
      if (turns) releases.push(await turns.take(live.abort.signal));
      releases.push(await this.locks.take(live.kind.lockKey(live.request), live.abort.signal));
    } catch (e) {
      if (!(live.recovered && live.cancelled)) throw e;
    }
  }

  private async failed(live: Live, e: unknown): Promise<OperationView> {
    const { id } = live.view;
    if (this.stopping) throw e;
    if (live.cancelled) {
      await this.abandon(live.kind, live.request);
      live.view = await this.bury(id, this.ledger.get(id));
      this.tell(live);
      return live.view;
    }
    const failure = this.describe(live, e);
    const again = REASONS[failure.reason].retry !== 'never';
    if (again && !live.kind.long) {
      await this.ledger.drop(id);
      throw e;
    }
    if (!again) await this.abandon(live.kind, live.request);
    return this.settle(live, { state: 'failed', failure, again });
  }

  private describe(live: Live, e: unknown): OperationFailure {
    if (isClusterError(e)) return { reason: e.reason, message: chain(e) };
    const traceId = newTraceId();
    this.log.error(
      { err: e, traceId, operation: live.view.id, kind: live.kind.name },
      'an operation failed inside the agent',
    );
    return {
      reason: 'INTERNAL',
      message: `internal error on the host (trace ${traceId}); the agent's log has the details`,
    };
  }

  private async settle(
    live: Live,
    end: {
      state: 'succeeded' | 'failed';
      failure?: OperationFailure;
      again?: boolean;
      image?: ImageOutcome | undefined;
    },
  ): Promise<OperationView> {
    const entry = {
      id: live.view.id,
      kind: live.kind.name,
      hash: live.hash,
      request: end.again ? live.request : undefined,
      state: end.state,
      failure: end.failure,
      again: end.again ?? false,
      image: end.image,
      ...(end.state === 'succeeded' && live.detail !== undefined && { detail: live.detail }),
    };
    const safe = await this.ledger.putResult(entry);
    if (safe && end.state === 'succeeded') await this.clear(live.kind, live.kind.succeeded?.(live.request));
    const { doneBytes, totalBytes } = live.view;
    live.view = { ...viewOf({ ...entry, atMs: 0 }), doneBytes, totalBytes };
    this.tell(live);
    return live.view;
  }

  private async bury(id: string, entry: LedgerEntry | undefined): Promise<OperationView> {
    const { kind, hash } = entry ?? { kind: '', hash: '' };
    const grave = { id, kind, hash, request: undefined, state: 'cancelled' as const, failure: undefined, again: false };
    await this.ledger.putResult({ ...grave, image: undefined });
    return viewOf({ ...grave, image: undefined, atMs: 0 });
  }

  private abandon(kind: OperationKind<unknown> | undefined, request: unknown): Promise<void> {
    return this.clear(kind, kind?.abandon?.(request));
  }

  private async clear(kind: OperationKind<unknown> | undefined, clearing: Promise<void> | undefined): Promise<void> {
    try {
      await clearing;
    } catch (e) {
      this.log.warn({ err: e, kind: kind?.name }, 'what an operation left could not be cleared away');
    }
  }

  private workOf(live: Live): Work {
    const { signal } = live.abort;
    return {
      operationId: live.view.id,
      signal,
      onProgress: (doneBytes, totalBytes) => {
        live.view = { ...live.view, doneBytes, totalBytes };
        this.tellSoon(live);
      },
      tell: (detail) => void (live.detail = detail),
      noReturn: () => this.noReturn(live),
      needSource: (needsSource) => {
        if (live.view.needsSource === needsSource) return;
        live.view = { ...live.view, needsSource };
        this.tell(live);
      },
      turnAway: (hostId, why) => {
        live.view = { ...live.view, turnedAway: { hostId, why } };
        this.tell(live);
      },
      readFrom: (sourceHostId) => void (live.view = { ...live.view, sourceHostId }),
    };
  }

  private async noReturn(live: Live): Promise<void> {
    const { signal } = live.abort;
    if (signal.aborted) throw signal.reason;
    if (live.mustEnd) return;
    live.mustEnd = true; // who cancels from now on waits, also while this is written
    try {
      const { kind, hash, request, view } = live;
      const noted = { id: view.id, kind: kind.name, hash, request, state: 'running' as const, mustEnd: true };
      await this.ledger.put({ ...noted, failure: undefined, again: false, image: undefined });
    } catch (e) {
      live.mustEnd = false;
      throw e;
    }
  }

  private tellSoon(live: Live): void {
    const { id } = live.view;
    if (this.progress.has(id) || this.stopping) return;
    const later = (): void => {
      this.progress.delete(id);
      if (this.live.get(id) === live) this.tell(live);
    };
    this.progress.set(id, this.clock.after(PROGRESS_EVERY_MS, later));
  }

  private tell(live: Live): void {
    const kind = { name: live.kind.name, long: live.kind.long !== undefined };
    for (const listener of [...this.listeners]) listener(live.view, kind);
  }
}

/** Bookkeeping of uploads, which are no operations. */
const hidden = (e: LedgerEntry): boolean => e.kind.startsWith('~');
