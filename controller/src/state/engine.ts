/**
 * The seam under the state: what keeps it durable. SQLite in sqlite/, memory in memory-engine.ts; an engine shared by
 * several controllers would stand here too. It knows rows and batches, not what they mean.
 */
import type { AuditHead, AuditRow } from '@berth/shared/model/audit.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import type { JobEvent } from '@berth/shared/model/job.ts';
import type { AuditQuery, StoredJob, TableName } from './state.ts';

export interface Meta {
  readonly installationId: string;
  /** Who may write; raised by a restore. A commit under another epoch fails. */
  readonly epoch: number;
  readonly revision: number;
  /** The newest row of the audit log; undefined when there is none. */
  readonly auditHead?: AuditHead;
}

export interface RowChange {
  readonly table: TableName;
  readonly key: string;
  /** Undefined: deleted. */
  readonly value: object | undefined;
}

/** Many updates, made durable together. */
export interface Batch {
  readonly revision: number;
  readonly atMs: number;
  readonly rows: readonly RowChange[];
  readonly jobEvents: readonly { readonly jobId: JobId; readonly seq: number; readonly event: JobEvent }[];
  readonly events: readonly Event[];
  readonly audit: readonly AuditRow[];
  /** Rows of the audit log up to this one go. */
  readonly auditPrunedTo: number;
}

export interface LoadSink {
  rows(table: TableName, values: readonly object[]): void;
  jobEvents(events: readonly { readonly jobId: JobId; readonly event: JobEvent }[]): void;
}

export interface EventQuery {
  readonly afterRevision?: number;
  readonly limit: number;
  readonly subject?: string;
}

export interface JobQuery {
  readonly id?: JobId;
  readonly before?: string;
  readonly limit: number;
}

export interface DurableEngine {
  /** Fills the sink with all rows; of jobs the open ones and the newest that ended, with their logs. */
  load(sink: LoadSink): Promise<Meta>;
  /** Resolves when durable. A failure means that nobody knows: the process must stop. */
  commit(batch: Batch, epoch: number): Promise<void>;
  /** Newest last; whole revisions, so possibly a few more than `limit`. */
  historyEvents(query: EventQuery): Promise<readonly Event[]>;
  /** Newest first; oldest first with `after`. */
  historyAudit(query: AuditQuery): Promise<readonly AuditRow[]>;
  /** Newest first, open and ended. */
  historyJobs(query: JobQuery): Promise<readonly StoredJob[]>;
  /** A whole, consistent copy of the database; commits go on meanwhile. */
  copyTo(path: string): Promise<void>;
  close(): Promise<void>;
}

/** How much history is kept, and how much of it in memory. */
export const RETENTION = { events: 100_000, endedJobsMs: 30 * 86_400_000, endedJobsInMemory: 1_000 } as const;
