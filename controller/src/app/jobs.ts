/** What people may do with jobs: look, watch, cancel, retry, accept. The engine does it; this finds the job they mean. */
import { badState, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { isId, type JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type JobView } from '@berth/shared/model/job.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { imageFetch, type FetchParams } from '../jobs/image-fetch.ts';
import { restOn } from './vm-fillings.ts';
import type { State } from '../state/state.ts';
import type { Page, PageQuery } from './pages.ts';

export interface JobDeps {
  readonly state: State;
  readonly jobs: Jobs;
}

export interface JobQuery extends PageQuery {
  readonly openOnly: boolean;
}

const DEFAULT_PAGE = 100;
const LARGEST_PAGE = 1000;
/** Among so many newest jobs the beginning of an id is looked for. */
const RECENT = 1000;

export class JobsApp {
  constructor(private readonly deps: JobDeps) {}

  async get(id: string): Promise<JobView> {
    const view = await this.deps.jobs.view(this.#find(id));
    await this.deps.state.settled();
    return view;
  }

  /** Newest first. */
  async list(query: JobQuery, keep: (job: JobView) => boolean = () => true): Promise<Page<JobView>> {
    const size = Math.min(LARGEST_PAGE, query.pageSize || DEFAULT_PAGE);
    if (query.pageToken !== '' && !isId('job', query.pageToken))
      throw invalidArgument('page_token is not one that this controller gave');
    const items = await this.#collect(query, size, keep);
    await this.deps.state.settled();
    const page = items.slice(0, size);
    return { items: page, nextPageToken: items.length > size ? (page.at(-1)?.id ?? '') : '' };
  }

  /** One more than `size`, where there are so many. */
  async #collect(query: JobQuery, size: number, keep: (job: JobView) => boolean): Promise<readonly JobView[]> {
    const items: JobView[] = [];
    let before = query.pageToken;
    for (;;) {
      const after = before === '' ? {} : { before: before as JobId };
      const some = await this.deps.jobs.list({ limit: size + 1, openOnly: query.openOnly, ...after });
      items.push(...some.filter(keep));
      if (items.length > size || some.length <= size) return items;
      before = some.at(-1)?.id ?? before;
    }
  }

  /** NOT_FOUND when there is none. Also by the beginning of its id. */
  async find(id: string): Promise<JobView> {
    return this.deps.jobs.view(this.#find(id));
  }

  watch(id: string, signal?: AbortSignal): AsyncIterable<JobView> {
    return this.deps.jobs.watch(this.#find(id), signal);
  }

  async cancel(id: string): Promise<JobView> {
    const jobId = this.#find(id);
    this.#refuseNeeded(jobId);
    await this.deps.jobs.cancel(jobId);
    return this.deps.jobs.view(jobId);
  }

  async retry(id: string): Promise<JobView> {
    const jobId = this.#find(id);
    await this.deps.jobs.retry(jobId);
    return this.deps.jobs.view(jobId);
  }

  async accept(id: string): Promise<JobView> {
    const jobId = this.#find(id);
    await this.deps.jobs.accept(jobId);
    return this.deps.jobs.view(jobId);
  }

  /** VMs, and volumes of them, that read what it copies would be left without. */
  #refuseNeeded(jobId: JobId): void {
    const { tables } = this.deps.state;
    const job = tables.jobs.get(jobId);
    if (job?.kind !== imageFetch.kind || isEnded(job.state)) return;
    const { imageId, hostId } = job.params as unknown as FetchParams;
    const [first, ...more] = restOn(tables, imageId, hostId);
    if (first === undefined) return;
    const who = more.length === 0 ? `${first} reads` : `${first} and ${more.length} more read`;
    throw badState(
      `job ${jobId} cannot be cancelled: ${who} the image while it comes. Delete them first, or let it end`,
    );
  }

  /** A whole id, or the beginning of just one among the newest. */
  #find(id: string): JobId {
    if (isId('job', id)) return id;
    if (id === '') throw invalidArgument('which job? Give its id. See: berth job list');
    const start = id.startsWith('job-') ? id : `job-${id}`;
    const some = this.deps.state.tables.jobs.newest(RECENT, undefined, false).filter((j) => j.id.startsWith(start));
    const [only] = some;
    if (some.length === 1 && only) return only.id;
    if (some.length > 1) throw invalidArgument(`${some.length} jobs begin with ${start}: write more of the id`);
    throw notFound(`job ${id.slice(0, 80)} does not exist. See: berth job list`);
  }
}
