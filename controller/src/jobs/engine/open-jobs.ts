/** The job engine as the rest of the controller sees it (jobs.ts): puts runner, control and views together. */
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job, type JobEvent, type JobView } from '@berth/shared/model/job.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { systemRandom, type Random } from '@berth/shared/runtime/random.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import type { State, Tx } from '../../state/state.ts';
import type { DriveEnv } from './at.ts';
import { acceptJob, cancelJob, retryJob } from './control.ts';
import type { AnyJobDef, EngineDeps } from './define.ts';
import type { Jobs } from './jobs.ts';
import type { Progress } from './live.ts';
import { Runner } from './runner.ts';
import { joinedIn, startJob } from './start.ts';
import { viewOf, type LiveView } from './view.ts';
import { Watchers } from './watchers.ts';

export interface OpenJobsOptions<Deps extends EngineDeps> {
  readonly state: State;
  /** What the steps get; one object that serves all definitions. */
  readonly deps: Deps;
  readonly defs: readonly AnyJobDef[];
  readonly clock: Clock;
  readonly log: Pick<Log, 'debug' | 'error' | 'warn'>;
  readonly random?: Random;
  /** How long unwinding waits for a silent host before it leaves a debt there; 5 minutes unless said otherwise. */
  readonly giveUpMs?: number;
  /** Jobs that one user may have under way; without a limit unless said otherwise. */
  readonly mostPerUser?: number;
  /** Calls of jobs under way at one host; 16 unless said otherwise. */
  readonly callsPerHost?: number;
}

/** Drives nothing before `run()`. */
export function openJobs<Deps extends EngineDeps>(o: OpenJobsOptions<Deps>): Jobs {
  return new OpenJobs(o);
}

class OpenJobs implements Jobs {
  readonly #runner: Runner;
  readonly #watchers: Watchers;
  readonly #state: State;
  readonly #deps: EngineDeps;
  readonly #most: { readonly mostPerUser?: number };
  #stopping = false;

  constructor(o: OpenJobsOptions<EngineDeps>) {
    this.#most = o.mostPerUser === undefined ? {} : { mostPerUser: o.mostPerUser };
    this.#state = o.state;
    this.#deps = o.deps;
    this.#watchers = new Watchers(o.state);
    const env: DriveEnv = {
      state: o.state,
      deps: o.deps,
      clock: o.clock,
      random: o.random ?? systemRandom,
      log: o.log,
      turns: new KeyedTurns(o.callsPerHost ?? 16),
      giveUpMs: o.giveUpMs ?? 5 * 60_000,
      stopping: () => this.#stopping,
      onLive: (job) => this.#changed(job.id),
    };
    this.#runner = new Runner(o.defs, env);
  }

  start: Jobs['start'] = (tx, def, params, options) => startJob(tx, def, params, { ...this.#most, ...options });

  async cancel(jobId: JobId): Promise<void> {
    await this.#control(jobId, (tx, def, log) => cancelJob(tx, jobId, def, log));
  }
  async retry(jobId: JobId): Promise<void> {
    await this.#control(jobId, (tx, _, log) => retryJob(tx, jobId, log));
    this.#runner.wake(jobId);
  }
  async accept(jobId: JobId): Promise<void> {
    await this.#control(jobId, (tx, _, log) => acceptJob(tx, jobId, log));
  }

  async view(jobId: JobId): Promise<JobView> {
    const job = this.#state.tables.jobs.get(jobId);
    if (job) {
      const view = this.#view(job, this.#state.jobLog(jobId));
      await this.#state.settled();
      return view;
    }
    const [stored] = await this.#state.jobHistory({ id: jobId, limit: 1 });
    if (!stored) throw notFound(`no job ${jobId}`);
    return this.#view(stored.job, stored.log);
  }

  async list(q: { limit: number; before?: JobId; openOnly?: boolean }): Promise<readonly JobView[]> {
    if (q.openOnly) {
      const jobs = this.#state.tables.jobs.newest(q.limit, q.before, true);
      const views = jobs.map((j) => this.#view(j, this.#state.jobLog(j.id)));
      await this.#state.settled();
      return views;
    }
    await this.#state.settled();
    const stored = await this.#state.jobHistory({ limit: q.limit, ...(q.before && { before: q.before }) });
    return stored.map((s) => this.#view(s.job, s.log));
  }

  async *watch(jobId: JobId, signal?: AbortSignal): AsyncIterable<JobView> {
    const changes = this.#watchers.of(jobId);
    const stop = () => changes.stop();
    signal?.addEventListener('abort', stop, { once: true });
    try {
      while (!signal?.aborted) {
        const view = await this.view(jobId);
        yield view;
        if (isEnded(view.state) || view.state === 'stuck') return;
        if (!(await changes.next())) return;
      }
    } finally {
      signal?.removeEventListener('abort', stop);
      changes.stop();
    }
  }

  nudge(jobId: JobId): void {
    this.#runner.wake(jobId);
  }
  nudgeByOperation(operationId: string): void {
    const jobId = operationId.split('.')[0] as JobId;
    if (this.#runner.live.find(jobId)) this.#runner.wake(jobId);
  }
  nudgeHost: Jobs['nudgeHost'] = (hostId) => this.#runner.wakeWaitingFor(hostId);

  progress(operationId: string, doneBytes: number, totalBytes: number): void {
    const [jobId, step] = operationId.split('.') as [JobId, string | undefined];
    const live = this.#runner.live.find(jobId);
    if (!live || step === undefined) return;
    live.progress.set(step, { doneBytes, totalBytes });
    this.#changed(jobId);
  }

  run(): void {
    this.#runner.start();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#runner.stop();
    this.#watchers.close();
  }

  async #control(
    jobId: JobId,
    fn: (tx: Tx, def: AnyJobDef | undefined, log: readonly JobEvent[]) => void,
  ): Promise<void> {
    await this.#state.update((tx) => {
      const job = tx.jobs.get(jobId);
      fn(tx, job && this.#runner.def(job), this.#state.jobLog(jobId));
    });
  }

  #view(job: Job, log: readonly JobEvent[]): JobView {
    const live = this.#runner.live.find(job.id);
    return viewOf(job, log, this.#runner.def(job), this.#deps, {
      progress: (step) => live?.progress.get(step) ?? this.#awaited(joinedIn(log, step)),
      doing: (jobId) => this.#doing(jobId),
    });
  }

  /** The step that a job is at, or what it waits for. */
  #doing(jobId: JobId): ReturnType<LiveView['doing']> {
    const job = this.#state.tables.jobs.get(jobId);
    const log = this.#state.jobLog(jobId);
    const step = log.at(-1)?.step ?? '';
    const progress = this.#runner.live.find(jobId)?.progress.get(step) ?? this.#awaited(joinedIn(log, step));
    const back = job?.state === 'unwinding' ? 'undoing ' : '';
    return { words: `${back}${job?.waitReason ?? step}`, progress };
  }

  /** Those who wait for a job show how far it is. */
  #changed(jobId: JobId): void {
    this.#watchers.changed(jobId);
    for (const waiter of this.#state.tables.jobs.get(jobId)?.waiters ?? []) this.#watchers.changed(waiter);
  }

  /** How far a job is that a step of another one waits for. */
  #awaited(jobId: JobId | undefined): Progress | undefined {
    const live = jobId && this.#runner.live.find(jobId);
    return live && [...live.progress.values()].at(-1);
  }
}
