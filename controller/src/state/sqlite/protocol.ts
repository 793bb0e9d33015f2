/** What the main thread and the SQLite worker say to each other. Plain data. */
import type { AuditRow } from '@berth/shared/model/audit.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { EventQuery, JobQuery, Meta } from '../engine.ts';
import type { AuditQuery, TableName } from '../state.ts';
import type { SqlValue } from './codec.ts';

export interface WorkerData {
  readonly path: string;
}

export interface WireBatch {
  readonly revision: number;
  /** How many revisions it holds. */
  readonly updates: number;
  readonly atMs: number;
  /** [table, key, row]; no row: deleted. */
  readonly rows: readonly (readonly [TableName, string, readonly SqlValue[] | null])[];
  /** [job_id, seq, step, type, at_ms, data] */
  readonly jobEvents: readonly (readonly SqlValue[])[];
  readonly events: readonly Event[];
  readonly audit: readonly AuditRow[];
  readonly auditPrunedTo: number;
}

export interface WireJob {
  readonly row: readonly SqlValue[];
  /** [job_id, step, type, at_ms, data] */
  readonly log: readonly (readonly SqlValue[])[];
}

export type Request =
  | { readonly op: 'load' }
  | { readonly op: 'commit'; readonly batch: WireBatch; readonly epoch: number }
  | { readonly op: 'events'; readonly query: EventQuery }
  | { readonly op: 'audit'; readonly query: AuditQuery }
  | { readonly op: 'jobs'; readonly query: JobQuery }
  | { readonly op: 'copy'; readonly to: string }
  | { readonly op: 'close' };

export interface Answers {
  readonly load: Meta;
  readonly commit: undefined;
  readonly events: readonly Event[];
  readonly audit: readonly AuditRow[];
  readonly jobs: readonly WireJob[];
  readonly copy: undefined;
  readonly close: undefined;
}

export type ToWorker = Request & { readonly id: number };

export type FromWorker =
  | { readonly id: number; readonly value: Answers[keyof Answers] }
  | { readonly id: number; readonly error: { readonly reason: string | undefined; readonly message: string } }
  | { readonly table: TableName; readonly json: string }
  | { readonly jobEvents: string };
