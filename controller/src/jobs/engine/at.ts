/** Where a drive is: one job, one step, what its log says; and the context that the step's functions get. */
import type { Log } from '@berth/shared/log/log.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import type { State, Tx } from '../../state/state.ts';
import type {
  AnyJobDef,
  AnyStep,
  EngineDeps,
  LocalContext,
  PartRecord,
  RemoteContext,
  StepContext,
  Wait,
} from './define.ts';
import type { LiveJob } from './live.ts';
import { append, jobOfPart, readLog, type JobRecord, type StepRecord } from './log.ts';

export interface DriveEnv {
  readonly state: State;
  readonly deps: EngineDeps;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Pick<Log, 'debug' | 'error' | 'warn'>;
  /** At most so many calls of jobs at one host at a time: a silent host holds up nobody but its own jobs. */
  readonly turns: KeyedTurns<HostId>;
  /** How long an undo waits for a silent host before what is left there becomes a debt. */
  readonly giveUpMs: number;
  /** The controller stops: begin nothing, log nothing more. */
  readonly stopping: () => boolean;
  /** Progress or a wait changed: for watchers. */
  readonly onLive: (job: Job) => void;
}

export interface At {
  readonly env: DriveEnv;
  readonly def: AnyJobDef;
  readonly job: Job;
  readonly jobRecord: JobRecord;
  readonly step: AnyStep;
  readonly record: StepRecord | undefined;
  readonly live: LiveJob;
}

/** How a drive ends for now. `stopped`: the controller stops; nothing was logged. */
export type Outcome =
  { readonly type: 'ended' | 'stuck' | 'stopped' } | { readonly type: 'waiting'; readonly ms: number };

export function stepContext(at: At, attempt: number): StepContext<unknown, object, unknown> {
  const opId = `${at.job.id}.${at.step.name}`;
  return {
    jobId: at.job.id,
    params: at.job.params,
    outs: at.jobRecord.outs,
    deps: at.env.deps,
    tables: at.env.state.tables,
    opId,
    undoOpId: `${opId}.undo`,
    nowMs: at.env.clock.now(),
    attempt,
  };
}

export const localContext = (at: At, attempt: number, tx: Tx): LocalContext => ({
  ...stepContext(at, attempt),
  nowMs: tx.nowMs,
  tx,
  memo: at.record?.started.memo,
  outsOf: (jobId) => readLog(at.env.state.jobLog(jobId)).outs,
  parts: () => partsOf(at),
  logPart(part, type, data) {
    const log = at.env.state.jobLog(at.job.id);
    append(tx, at.job.id, log, { step: `${at.step.name}/${part}`, type, data });
  },
});

/** As the transaction has them by now. */
function partsOf(at: At): ReadonlyMap<string, PartRecord> {
  const start = `${at.step.name}/`;
  const all = [...readLog(at.env.state.jobLog(at.job.id)).parts].filter(([name]) => name.startsWith(start));
  return new Map(
    all.map(([name, r]) => [name.slice(start.length), { last: r.last, jobId: jobOfPart(r), error: r.error }]),
  );
}

export const remoteContext = (at: At, attempt: number): RemoteContext => ({
  ...stepContext(at, attempt),
  signal: at.live.abort.signal,
  notes: at.live.notes,
  progress(doneBytes, totalBytes) {
    at.live.progress.set(at.step.name, { doneBytes, totalBytes });
    at.env.onLive(at.job);
  },
});

/** The step's functions with their forgotten types; the builder has checked them. */
export const call = {
  local: (at: At, c: LocalContext): unknown => at.step.run(c as never),
  remote: (at: At, c: RemoteContext): Promise<unknown> => at.step.run(c as never) as Promise<unknown>,
  undoLocal: (at: At, c: LocalContext): unknown => at.step.undo?.(c as never, at.record?.out as never),
  undoRemote: (at: At, c: RemoteContext): Promise<Wait | void> =>
    Promise.resolve(at.step.undo?.(c as never, at.record?.out as never)) as Promise<Wait | void>,
  host: (at: At): HostId | undefined => at.step.host?.(stepContext(at, 1) as never),
  operations: (at: At): readonly string[] => {
    const c = stepContext(at, 1);
    return at.step.operations?.(c as never) ?? [c.opId];
  },
};
