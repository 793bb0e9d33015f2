/** The contract of the job engine for app/, api/ and main.ts. Types only; made by openJobs in open-jobs.ts. */
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import type { JobView } from '@berth/shared/model/job.ts';
import type { Tx } from '../../state/state.ts';
import type { JobDef } from './define.ts';

/** `vm/<id>:exclusive`, `image/<id>:shared`. */
export type LockName = `${string}:shared` | `${string}:exclusive`;

export interface StartOptions {
  /** What it works on, for people: the name of a VM, image or host. */
  readonly subject: string;
  readonly locks?: readonly LockName[];
  /** A keyed job that runs already is joined instead of started again. */
  readonly key?: string;
  readonly user: string;
  /** RATE_LIMITED when the user has as many jobs under way; the engine's own limit unless said otherwise. */
  readonly mostPerUser?: number;
  /** Of what it works on, where that is not one VM: who may see it. */
  readonly labels?: Readonly<Record<string, string>>;
  /** The job that waits for this one; without it a person does, who never leaves. */
  readonly waiterOf?: JobId;
}

export interface Jobs {
  /**
   * Inside an update: takes the locks and inserts the job; the runner drives it once that is durable. Throws
   * RESOURCE_BUSY, naming the job that holds a lock. A keyed job that runs is joined: then its id is returned.
   */
  start<P, D>(tx: Tx, def: JobDef<P, D>, params: P, options: StartOptions): JobId;
  /** Asks it to unwind; resolves when that is durable. BAD_STATE when it has ended or may only go forward. */
  cancel(jobId: JobId): Promise<void>;
  /** Tries the failed undo of a stuck job again. */
  retry(jobId: JobId): Promise<void>;
  /** Ends a stuck job as it is; an event names what was not undone. */
  accept(jobId: JobId): Promise<void>;
  /** Also of ended jobs, from history. NOT_FOUND. */
  view(jobId: JobId): Promise<JobView>;
  /** Newest first. */
  list(query: { limit: number; before?: JobId; openOnly?: boolean }): Promise<readonly JobView[]>;
  /** Now, then after each change, until it has ended or is stuck. */
  watch(jobId: JobId, signal?: AbortSignal): AsyncIterable<JobView>;
  /** Something it may wait for has happened. Never an input: the step looks for itself. */
  nudge(jobId: JobId): void;
  /** The same, by an agent's operation id (`<jobId>.<step>…`). Ids of other shapes are ignored. */
  nudgeByOperation(operationId: string): void;
  /** The host is back, or was declared dead: those that wait for it look again. */
  nudgeHost(hostId: HostId): void;
  /** Live progress from elsewhere (a host's Watch); remote steps have ctx.progress. */
  progress(operationId: string, doneBytes: number, totalBytes: number): void;
  /** Recovers all open jobs and begins to drive them. */
  run(): void;
  /** Lets running steps end or abort; starts nothing more. Jobs go on after the next start. */
  stop(): Promise<void>;
}
