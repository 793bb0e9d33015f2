/**
 * Runs all open jobs: wakes what is due, takes nudges, recovers after a restart, stops cleanly. A waiting job is a timer
 * and nothing else. One job's drive never waits for another's; only calls to the same host take turns.
 */
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { Timer } from '@berth/shared/runtime/clock.ts';
import { actAsNobody } from '../../state/actor.ts';
import type { Change } from '../../state/state.ts';
import { StateFailed } from '../../state/store.ts';
import type { DriveEnv, Outcome } from './at.ts';
import { makeStuck } from './control.ts';
import type { AnyJobDef } from './define.ts';
import { drive } from './drive.ts';
import { LiveJobs } from './live.ts';
import { asJob, noteEnded } from './trace.ts';
import { hostsOf } from './touched-hosts.ts';

interface Slot {
  driving: Promise<void> | undefined;
  /** Nudged while it was driven: look once more. */
  again: boolean;
  timer: Timer | undefined;
}

/** A call that ignores its signal is left behind; its answer is lost, as in a crash. */
const STOP_MS = 5_000;

export class Runner {
  readonly live = new LiveJobs();
  readonly #slots = new Map<JobId, Slot>();
  readonly #defs: ReadonlyMap<string, AnyJobDef>;
  #unsubscribe: (() => void) | undefined;
  #running = false;

  constructor(
    defs: readonly AnyJobDef[],
    private readonly env: DriveEnv,
  ) {
    this.#defs = new Map(defs.map((d) => [`${d.kind} v${d.version}`, d]));
    if (this.#defs.size !== defs.length) throw new Error('BUG: two job definitions share kind and version');
  }

  def(job: Pick<Job, 'kind' | 'version'>): AnyJobDef | undefined {
    return this.#defs.get(`${job.kind} v${job.version}`);
  }

  start(): void {
    this.#running = true;
    this.#unsubscribe = this.env.state.subscribe((c) => this.#onChange(c));
    for (const job of this.env.state.tables.jobs.open()) this.wake(job.id);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#unsubscribe?.();
    for (const [jobId, slot] of this.#slots) {
      slot.timer?.cancel();
      this.live.find(jobId)?.abort.abort('the controller stops');
    }
    const ended = Promise.all(Array.from(this.#slots.values(), async (s) => s.driving));
    let timer: Timer | undefined;
    const late = new Promise<void>((resolve) => (timer = this.env.clock.after(STOP_MS, resolve)));
    await Promise.race([ended, late]);
    timer?.cancel();
  }

  wake(jobId: JobId): void {
    const job = this.env.state.tables.jobs.get(jobId);
    if (!this.#running || !job || isEnded(job.state) || job.state === 'stuck') return;
    const slot = this.#slots.get(jobId) ?? { driving: undefined, again: false, timer: undefined };
    this.#slots.set(jobId, slot);
    slot.timer?.cancel();
    slot.again = slot.driving !== undefined;
    slot.driving ??= actAsNobody(() => asJob(job, () => this.#drive(jobId, slot))); // whoever woke it has not done what it does
  }

  wakeWaitingFor(hostId: HostId): void {
    for (const jobId of [...this.live.waitingFor(hostId)]) this.wake(jobId);
  }

  async #drive(jobId: JobId, slot: Slot): Promise<void> {
    let outcome: Outcome;
    do {
      slot.again = false;
      outcome = await this.#driveOnce(jobId);
    } while (slot.again && outcome.type === 'waiting' && this.#running);
    slot.driving = undefined;
    if (outcome.type === 'waiting' && this.#running) {
      slot.timer = this.env.clock.after(outcome.ms, () => this.wake(jobId));
    } else if (slot.again && outcome.type === 'stuck') {
      this.wake(jobId); // retried in the very moment it got stuck
    }
  }

  async #driveOnce(jobId: JobId): Promise<Outcome> {
    try {
      const job = this.env.state.tables.jobs.get(jobId)!;
      const def = this.def(job);
      if (def) return await drive(this.env, jobId, def, this.live.of(jobId));
      await makeStuck(this.env.state, jobId, `this version does not know jobs of kind ${job.kind} v${job.version}`);
      return { type: 'stuck' };
    } catch (e) {
      return this.#onFault(jobId, e);
    }
  }

  /** A fault of the engine or of a definition, not of a step: the job stays as it is for a person to look at. */
  async #onFault(jobId: JobId, e: unknown): Promise<Outcome> {
    if (e instanceof StateFailed) return { type: 'stopped' };
    this.env.log.error({ err: e, jobId }, 'a job could not be driven');
    try {
      await makeStuck(this.env.state, jobId, `internal error: ${chain(e)}`);
      return { type: 'stuck' };
    } catch (second) {
      this.env.log.error({ err: second, jobId }, 'a job could not be marked as stuck');
      return { type: 'stopped' };
    }
  }

  #onChange(change: Change): void {
    for (const key of change.touched.get('jobs') ?? []) {
      const job = this.env.state.tables.jobs.get(key);
      if (!job) continue;
      if (isEnded(job.state)) this.#onEnd(job);
      else if (!this.#slots.has(job.id) || this.#isPressing(job)) this.wake(job.id);
    }
  }

  /** Changed from outside its drive: cancelled, or retried. */
  #isPressing(job: Job): boolean {
    const live = this.live.find(job.id);
    if (job.cancelRequested && live?.running) live.abort.abort('cancelled');
    const idle = this.#slots.get(job.id)?.driving === undefined;
    return job.cancelRequested ? job.state !== 'unwinding' || idle : idle && job.state !== 'waiting' && !job.waitReason;
  }

  #onEnd(job: Job): void {
    noteEnded(job);
    const slot = this.#slots.get(job.id);
    if (!slot) return;
    slot.timer?.cancel();
    this.#slots.delete(job.id);
    this.live.forget(job.id);
    for (const waiter of job.waiters) this.wake(waiter);
    this.#acknowledge(job);
  }

  /** Best effort: what an agent keeps beyond this costs it a little disk and nothing else. */
  #acknowledge(job: Job): void {
    const { deps, log, state } = this.env;
    const def = this.def(job);
    if (!def || !deps.acknowledgeOperations) return;
    const acknowledge = async (hostId: HostId): Promise<void> => {
      await state.settled(); // an agent must not forget what a job might ask for again
      await deps.acknowledgeOperations?.(hostId, [`${job.id}.`]);
    };
    for (const hostId of hostsOf(def, job, state, deps)) {
      acknowledge(hostId).catch((e: unknown) => {
        log.debug({ err: e, jobId: job.id, hostId }, 'operations of an ended job were not acknowledged');
      });
    }
  }
}
