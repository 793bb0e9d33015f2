/** One update: the tables, the job logs and the events that it adds, and the way back. Durability is store.ts's. */
import type { AuditEntry } from '@berth/shared/model/audit.ts';
import type { Event } from '@berth/shared/model/event.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job, type JobEvent } from '@berth/shared/model/job.ts';
import { currentActor } from './actor.ts';
import { auditEntry } from './audit-entry.ts';
import { keepIntegrity } from './integrity.ts';
import type { Journal } from './journal.ts';
import type { Tx } from './state.ts';
import type { TableName } from './state.ts';
import { asContract, type MemTables } from './tables.ts';

export type NewEvent = Omit<Event, 'revision'>;

export interface Applied {
  readonly touched: ReadonlyMap<TableName, ReadonlySet<string>>;
  readonly events: readonly NewEvent[];
  readonly audit: readonly AuditEntry[];
  readonly jobEvents: readonly { readonly jobId: JobId; readonly seq: number; readonly event: JobEvent }[];
}

export class JobLogs {
  readonly #logs = new Map<JobId, JobEvent[]>();

  get(jobId: JobId): readonly JobEvent[] {
    return this.#logs.get(jobId) ?? [];
  }
  append(jobId: JobId, event: JobEvent): number {
    const log = this.#logs.get(jobId);
    if (!log) this.#logs.set(jobId, [event]);
    return log ? log.push(event) - 1 : 0;
  }
  pop(jobId: JobId): void {
    this.#logs.get(jobId)?.pop();
  }
  forget(jobId: JobId): void {
    this.#logs.delete(jobId);
  }
}

/** Runs `fn` as one update. Whatever it throws, nothing has changed. */
export function transact<T>(
  m: {
    readonly tables: MemTables;
    readonly logs: JobLogs;
    readonly journal: Journal<TableName>;
    readonly nowMs: number;
  },
  fn: (tx: Tx) => T,
): { readonly result: T; readonly applied: Applied | undefined } {
  if (m.journal.isOpen) throw new Error('BUG: state.update() inside state.update()');
  const events: NewEvent[] = [];
  const jobEvents: Applied['jobEvents'][number][] = [];
  const audit: AuditEntry[] = [];
  m.journal.begin();
  try {
    const result = fn(makeTx(m, { events, jobEvents, audit }));
    if (isThenable(result)) throw new Error('BUG: the function given to state.update() is asynchronous');
    keepIntegrity(m.tables, m.journal.touched);
    const actor = currentActor();
    const own = actor && auditEntry(actor, m.journal, m.tables, m.nowMs);
    if (own) audit.push(own);
    m.journal.end();
    const unchanged = m.journal.isEmpty && events.length === 0 && audit.length === 0;
    return { result, applied: unchanged ? undefined : { touched: m.journal.touched, events, jobEvents, audit } };
  } catch (e) {
    m.journal.rollback();
    throw e;
  }
}

interface Collected {
  readonly events: NewEvent[];
  readonly jobEvents: Applied['jobEvents'][number][];
  readonly audit: AuditEntry[];
}

function makeTx(
  m: {
    readonly tables: MemTables;
    readonly logs: JobLogs;
    readonly journal: Journal<TableName>;
    readonly nowMs: number;
  },
  { events, jobEvents, audit }: Collected,
): Tx {
  return {
    ...asContract(m.tables),
    nowMs: m.nowMs,
    appendJobEvent(jobId, e) {
      const job = m.tables.jobs.get(jobId);
      if (!job || isEnded(job.state)) throw new Error(`BUG: the log of ${jobId} is written, but no such job is open`);
      m.journal.record(() => m.logs.pop(jobId));
      const event = { ...e, atMs: m.nowMs };
      jobEvents.push({ jobId, seq: m.logs.append(jobId, event), event });
    },
    audit(e) {
      if (!m.journal.isOpen) throw new Error('BUG: an audit row was written outside state.update()');
      audit.push({ ...e, atMs: m.nowMs });
    },
    event(e) {
      if (!m.journal.isOpen) throw new Error('BUG: an event was recorded outside state.update()');
      const labels = labelsOf(m.tables, e);
      events.push({ ...e, atMs: m.nowMs, ...(labels && { labels }) });
    },
  };
}

const isThenable = (v: unknown): boolean =>
  typeof v === 'object' && v !== null && typeof (v as { then?: unknown }).then === 'function';

/** Of what an event is about; of a VM that has just gone, those that its job knows. */
function labelsOf(t: MemTables, e: Omit<Event, 'revision' | 'atMs'>): Event['labels'] {
  if (e.subjectKind === 'host') return t.hosts.byName(e.subject)?.labels;
  const job = () => t.jobs.get(e.jobId ?? e.subject);
  if (e.subjectKind === 'vm') return t.vms.byName(e.subject)?.spec.labels ?? job()?.labels;
  if (e.subjectKind === 'volume') return t.volumes.byName(e.subject)?.labels ?? job()?.labels;
  if (e.subjectKind === 'image') return labelsOfImage(t, e.subject, job);
  return e.subjectKind === 'job' ? job()?.labels : undefined;
}

/** Only what was captured to clone a VM has any, which it keeps to itself; of one that has just gone, its job knows. */
function labelsOfImage(t: MemTables, name: string, job: () => Pick<Job, 'labels'> | undefined): Event['labels'] {
  const image = t.images.byName(name);
  if (image === undefined) return job()?.labels;
  return image.hidden === true ? (image.ownerLabels ?? {}) : undefined;
}
