/** Follows a job that makes many VMs: a changing line for each that is at work, a line of result for each that has ended. */
import type { BatchVm, CloneVmsResponse } from '@berth/proto/v1/batch.ts';
import { JobState, StepState, type Job, type JobStep } from '@berth/proto/v1/job.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { Api } from '../core/api.ts';
import { note, type Context } from '../core/context.ts';
import { errorLine, EXIT } from '../core/exit.ts';
import { createLive, type Live } from '../output/live.ts';
import { followJob, progress } from './follow.ts';

export interface Rows {
  readonly made: CloneVmsResponse;
  /** Those that are made are started too, and so are those that were there. */
  readonly start: boolean;
  /** What is made may yet be taken back: results are told at the end. */
  readonly atomic: boolean;
  readonly startedMs: number;
}

/** Results stand in one column behind texts of up to this length. */
const RESULT_WIDTH = 26;
/** So many starts are followed at a time. */
const STARTS = 16;

/** Ends with a failing exit code when one failed. Leaving with Ctrl-C leaves the job at work. */
export async function followRows(ctx: Context, api: Api, o: Rows): Promise<void> {
  const follower = new Follower(ctx, api, o);
  try {
    await follower.run();
  } finally {
    follower.end();
  }
}

class Follower {
  readonly #live: Live;
  readonly #width: number;
  readonly #hosts: ReadonlyMap<string, BatchVm>;
  readonly #told = new Set<string>();
  readonly #starts: (() => Promise<void>)[] = [];
  readonly #starting = new Set<Promise<void>>();
  #failed = 0;

  constructor(
    private readonly ctx: Context,
    private readonly api: Api,
    private readonly o: Rows,
  ) {
    this.#live = createLive(ctx);
    this.#width = Math.max(...o.made.vms.map((v) => v.name.length)) + 3;
    this.#hosts = new Map(o.made.vms.map((v) => [v.name, v]));
  }

  async run(): Promise<void> {
    for (const vm of this.o.made.vms) if (vm.thereAlready) this.#made(vm.name, `is on ${vm.host} already`, false);
    const { jobId } = this.o.made;
    const job = jobId === '' ? undefined : await this.#follow(jobId);
    while (this.#starting.size > 0) await Promise.all(this.#starting);
    this.#live.end();
    if (this.ctx.signal.aborted)
      return note(this.ctx, `The job goes on: berth job watch ${jobId}. To end it: berth job cancel ${jobId}`);
    this.#sum(job);
  }

  end = (): void => this.#live.end();

  async #follow(jobId: string): Promise<Job | undefined> {
    let last: Job | undefined;
    for await (const job of this.api.stream(this.api.jobs, (c) => c.watchJob, { job: jobId }, this.ctx.signal)) {
      last = job;
      for (const step of job.steps) if (step.partOf !== undefined) this.#look(step, isOpen(job));
    }
    if (last && !isOpen(last) && !this.ctx.signal.aborted) this.#close(last);
    return last;
  }

  #look(step: JobStep, open: boolean): void {
    const { name, state, detail } = step;
    if (this.#told.has(name)) return;
    const words = [state === StepState.UNDOING ? 'undoing' : '', detail, progress(step)].filter(Boolean).join(' ');
    if (state === StepState.RUNNING || state === StepState.UNDOING || (this.o.atomic && open))
      return this.#live.set(name, `${this.#label(name)} ${words || '…'}`);
    if (state === StepState.SUCCEEDED) this.#made(name, detail, true);
    else this.#lost(name, detail || 'taken back');
  }

  /** Those that nobody got to. */
  #close(job: Job): void {
    const parts = new Map(job.steps.filter((s) => s.partOf !== undefined).map((s) => [s.name, s]));
    for (const { name } of this.o.made.vms) {
      const step = parts.get(name);
      if (step) this.#look(step, false);
      if (!this.#told.has(name)) this.#lost(name, job.state === JobState.CANCELLED ? 'cancelled' : 'not begun');
    }
  }

  #made(name: string, words: string, isNew: boolean): void {
    this.#told.add(name);
    if (!this.o.start) return this.#result(name, `${words.padEnd(RESULT_WIDTH)} [  OK  ]`);
    this.#live.set(name, `${this.#label(name)} ${words}, starting`);
    this.#starts.push(() => this.#start(name, words, isNew));
    this.#next();
  }

  #next(): void {
    while (this.#starting.size < STARTS) {
      const begin = this.#starts.shift();
      if (begin === undefined) return;
      const starting = begin().finally(() => {
        this.#starting.delete(starting);
        this.#next();
      });
      this.#starting.add(starting);
    }
  }

  async #start(name: string, words: string, isNew: boolean): Promise<void> {
    try {
      const { jobId } = await this.api.call(this.api.vms, (c) => c.startVm, { vm: name });
      const show = (phrase: string) => this.#live.set(name, `${this.#label(name)} ${words}, starting ${phrase}`);
      if (jobId !== '') await followJob(this.ctx, this.api, jobId, show);
      this.#result(name, `${`${words}, ${jobId !== '' || isNew ? 'started' : 'runs'}`.padEnd(RESULT_WIDTH)} [  OK  ]`);
    } catch (e) {
      if (!this.ctx.signal.aborted) this.#lost(name, `${words}, but: ${errorLine(e)}`);
    }
  }

  #lost(name: string, why: string): void {
    this.#told.add(name);
    this.#failed++;
    this.#result(name, `${''.padEnd(RESULT_WIDTH)} [FAILED] ${why}`);
  }

  #result(name: string, words: string): void {
    this.#live.set(name, undefined);
    this.#live.final(`${this.#label(name)} ${words}`);
  }

  #label = (name: string): string => `vm ${name}`.padEnd(this.#width);

  #advice = (): string =>
    this.o.atomic
      ? 'None is left of those that were to be made. Mend what failed, then give the same command again.'
      : 'Finish the rest with the same command; what exists is left alone.';

  #sum(job: Job | undefined): void {
    const all = this.#hosts.size;
    const took = formatDuration(this.ctx.clock.monotonic() - this.o.startedMs);
    note(this.ctx, `${all - this.#failed} of ${all} done in ${took}.${this.#failed > 0 ? ` ${this.#advice()}` : ''}`);
    if (job?.state === JobState.STUCK)
      note(this.ctx, `${job.id} is stuck: ${job.waitReason}. See: berth job show ${job.id}`);
    if (this.#failed > 0) this.ctx.fail(EXIT.failed);
  }
}

const isOpen = (job: Job): boolean => [JobState.RUNNING, JobState.WAITING, JobState.UNWINDING].includes(job.state);
