/** Counts jobs that end, and the bytes that jobs move: listens to the state and to what hosts tell. */
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { Exposition } from '@berth/shared/metrics/exposition.ts';
import { Counter, Histogram } from '@berth/shared/metrics/instruments.ts';
import { labels } from '@berth/shared/metrics/exposition.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { State } from '../state/state.ts';
import type { ControllerFamilies } from './families.ts';

/** From a tenth of a second to an hour. */
const JOB_SECONDS = [0.1, 0.5, 2.5, 10, 60, 300, 900, 3_600];
/** Kinds whose work is moving bytes. */
const MOVES = /^(image\.(fetch|import|export|capture)|pool\.image|volume\.(rewrite|wipe|move|transfer|export|upload))/;
/** Ended jobs are told of again when those who waited for them leave. */
const MOST_REMEMBERED = 5_000;

export class JobMeter {
  private readonly ended = new Counter(['kind', 'result']);
  private readonly durations = new Histogram(['kind'], JOB_SECONDS);
  private readonly moved = new Counter(['kind']);
  private readonly counted = new Set<string>();
  /** Bytes that were counted of an operation under way. */
  private readonly seen = new Map<string, number>();
  private readonly ends: (() => void)[] = [];

  constructor(
    private readonly state: Pick<State, 'tables' | 'subscribe'>,
    private readonly hosts: Pick<Hosts, 'operation' | 'subscribe'>,
  ) {}

  start(): void {
    this.ends.push(
      this.state.subscribe(({ touched }) => {
        for (const id of touched.get('jobs') ?? []) this.look(this.state.tables.jobs.get(id));
      }),
      this.hosts.subscribe((e) => e.type === 'operation' && this.progress(e.operationId)),
    );
  }

  stop(): void {
    for (const end of this.ends.splice(0)) end();
  }

  write(to: Exposition<ControllerFamilies>): void {
    const open = new Map<string, number>();
    const transfers = new Map<string, number>();
    const add = (to: Map<string, number>, key: string): void => void to.set(key, (to.get(key) ?? 0) + 1);
    for (const { kind, state } of this.state.tables.jobs.open()) {
      add(open, labels(['kind', 'state'], [kind, state]));
      if (MOVES.test(kind)) add(transfers, labels(['kind'], [kind]));
    }
    for (const [of, n] of open) to.add('berth_jobs', n, of);
    for (const [of, n] of transfers) to.add('berth_transfers', n, of);
    this.ended.write(to, 'berth_jobs_ended_total');
    this.durations.write(to, 'berth_job_duration_seconds');
    this.moved.write(to, 'berth_transferred_bytes_total');
  }

  private look(job: Job | undefined): void {
    if (job === undefined || !isEnded(job.state) || this.counted.has(job.id)) return;
    this.counted.add(job.id);
    const oldest = this.counted.values().next();
    if (this.counted.size > MOST_REMEMBERED && !oldest.done) this.counted.delete(oldest.value);
    this.ended.add(1, job.kind, job.state);
    if (job.endedAtMs !== undefined)
      this.durations.observe(Math.max(0, job.endedAtMs - job.createdAtMs) / 1000, job.kind);
  }

  private progress(operationId: string): void {
    const operation = this.hosts.operation(operationId);
    const kind = this.state.tables.jobs.get(operationId.split('.')[0] ?? '')?.kind;
    if (operation === undefined || kind === undefined || operation.totalBytes === 0)
      return void this.seen.delete(operationId);
    const more = operation.doneBytes - (this.seen.get(operationId) ?? 0);
    if (more > 0) this.moved.add(more, kind);
    if (operation.state === 'running' && this.seen.size < MOST_REMEMBERED)
      this.seen.set(operationId, operation.doneBytes);
    else this.seen.delete(operationId);
  }
}
