/** The table of jobs: which are open, which hold an object, which has a key. Ended jobs stay a while, then only in history. */
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { Journal } from './journal.ts';
import { SortedKeys } from './sorted-keys.ts';
import type { TableName } from './state.ts';
import { MemTable } from './table.ts';

const isOpen = (j: Job): boolean => !isEnded(j.state);
export const lockedObject = (lock: string): string => lock.replace(/:(shared|exclusive)$/, '');

export class JobsTable extends MemTable<Job> {
  readonly #ended = new Set<string>();
  #open = SortedKeys.from([]);
  #opened = 0;

  constructor(journal: Journal<TableName>) {
    super(
      'jobs',
      (j) => j.id,
      [
        { of: (j) => (isOpen(j) ? j.locks.map(lockedObject) : []) },
        {
          of: (j) => (isOpen(j) ? [j.key] : []),
          taken: (key, by) => `job ${by.id} (${by.kind} ${by.subject}) already does ${key}`,
        },
        { of: (j) => (isOpen(j) ? j.waiters : []) },
        { of: (j) => (isOpen(j) ? j.locks.filter((l) => l.endsWith(':exclusive')).map(lockedObject) : []) },
      ],
      journal,
    );
  }

  open(): readonly Job[] {
    return this.#open.after(undefined, Infinity).map((id) => this.get(id)!);
  }
  get openSize(): number {
    return this.#opened;
  }
  holder(object: string, alone: boolean): Job | undefined {
    return this.findOne(alone ? 3 : 0, object);
  }
  byKey(key: string): Job | undefined {
    return this.findOne(1, key);
  }
  holders(object: string): readonly Job[] {
    return this.find(0, object);
  }
  /** Open jobs that this one waits for. */
  awaitedBy(jobId: string): readonly Job[] {
    return this.find(2, jobId);
  }
  newest(limit: number, before: string | undefined, openOnly: boolean): readonly Job[] {
    const keys = openOnly ? this.#open : this.keys();
    return keys.before(before, limit).map((id) => this.get(id)!);
  }

  /** Forgets the jobs that ended longest ago, beyond `keep`; gives back which. */
  evictEnded(keep: number): readonly string[] {
    const gone: string[] = [];
    for (const id of this.#ended) {
      if (this.#ended.size - gone.length <= keep) break;
      if (this.get(id)?.waiters.some((w) => this.#isOpenId(w))) continue;
      gone.push(id);
    }
    for (const id of gone) this.evict(id);
    return gone;
  }

  #isOpenId(id: string): boolean {
    const job = this.get(id);
    return job !== undefined && isOpen(job);
  }

  protected override onChange(before: Job | undefined, after: Job | undefined): void {
    const id = (after ?? before)!.id;
    const open = after !== undefined && isOpen(after);
    this.#opened += Number(open) - Number(before !== undefined && isOpen(before));
    if (open) this.#open.add(id);
    else this.#open.delete(id);
    if (after === undefined || open) this.#ended.delete(id);
    else this.#ended.add(id);
  }
}
