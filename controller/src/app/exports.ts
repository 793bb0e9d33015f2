/** What people take out of Berth: starts the job that makes a file on a host, and relays its bytes to whoever has the ticket. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, JobId } from '@berth/shared/model/ids.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import { isEnded, type Job, type JobError } from '@berth/shared/model/job.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs, LockName } from '../jobs/engine/jobs.ts';
import { exportIdOf, imageExport, type ExportParams, type MadeFile } from '../jobs/image-export.ts';
import type { Uploads } from '../jobs/uploads.ts';
import { volumeExport } from '../jobs/volume-export.ts';
import type { State } from '../state/state.ts';
import { usableImage } from './usable-image.ts';
import { exportWanted } from './volume-exporting.ts';
import { resolveVolume } from './volume-names.ts';

export interface ExportDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly uploads: Uploads;
  readonly clock: Clock;
}

/** What a download shows; it is good for who began it. */
export interface Ticket {
  readonly jobId: string;
  readonly ticket: string;
  readonly user: string;
}

const FORMATS: readonly string[] = ['qcow2', 'raw', 'vmdk'];
const KINDS: readonly string[] = [imageExport.kind, volumeExport.kind];
const hash = (ticket: string): string => createHash('sha256').update(ticket).digest('hex');

const gone = (jobId: string): ClusterError =>
  notFound(`there is no export ${jobId.slice(0, 80)} to be fetched (any more). Export it anew`);

export class Exports {
  constructor(private readonly deps: ExportDeps) {}

  /** The ticket is in this answer and nowhere else. */
  async image(
    nameOrId: string,
    format: string,
    user: string,
  ): Promise<{ readonly jobId: JobId; readonly ticket: string }> {
    if (!FORMATS.includes(format))
      throw invalidArgument(
        `an image is not exported as ${JSON.stringify(format.slice(0, 40))}: ${FORMATS.join(', ')}`,
      );
    const { state, jobs } = this.deps;
    const ticket = newSecret();
    const jobId = await state.update((tx) => {
      const image = usableImage(state.tables, nameOrId);
      const params = { imageId: image.id, format, ticketHash: hash(ticket) };
      const locks = [`image/${image.id}:shared` as const];
      return jobs.start(tx, imageExport, params, { subject: image.name, locks, user });
    });
    return { jobId, ticket };
  }

  /** Of one that no guest has. */
  async volume(
    nameOrId: string,
    format: string,
    user: string,
  ): Promise<{ readonly jobId: JobId; readonly ticket: string }> {
    const { state, jobs, hosts, clock } = this.deps;
    const ticket = newSecret();
    const jobId = await state.update((tx) => {
      const found = resolveVolume(state.tables, nameOrId);
      const { params, subject } = exportWanted(found, format, { tables: state.tables, hosts, nowMs: clock.now() });
      const locks: LockName[] = [`volume/${params.volumeId}:shared`];
      // it must not begin to write while it is read
      if (params.vmId) locks.push(`vm/${params.vmId}:shared`);
      return jobs.start(tx, volumeExport, { ...params, ticketHash: hash(ticket) }, { subject, locks, user });
    });
    return { jobId, ticket };
  }

  /** Waits until the file is made. @throws what its job failed of, also when it had failed before anybody asked */
  async open(t: Ticket, signal: AbortSignal): Promise<MadeFile> {
    const { jobId } = t;
    const job = this.#known(t);
    if (job.state === 'succeeded' || this.#isReceived(job)) throw gone(jobId);
    const made = (): MadeFile | undefined => this.#made(jobId);
    await new Promise<void>((resolve) => {
      const over = (): boolean => made() !== undefined || signal.aborted || this.#isOver(jobId);
      if (over()) return resolve();
      const stop = this.deps.state.subscribe(() => over() && end());
      const end = (): void => {
        stop();
        signal.removeEventListener('abort', end);
        resolve();
      };
      signal.addEventListener('abort', end, { once: true });
    });
    const file = made();
    if (file && !this.#isOver(jobId)) return file;
    const failed = this.deps.state.jobLog(jobId as JobId).find((e) => e.type === 'failed')?.data as
      Partial<JobError> | undefined;
    const { reason = 'CANCELLED', message = `the export has ended: berth job show ${jobId} says why` } = failed ?? {};
    throw new ClusterError(isReason(reason) ? reason : 'INTERNAL', message);
  }

  async *read(t: Ticket, offset: number, signal: AbortSignal): AsyncGenerator<Piece> {
    const { jobId } = t;
    const job = this.#job(t);
    const { uploads, hosts, jobs } = this.deps;
    const file = this.#made(jobId);
    const hostId = this.#hostOf(job.id);
    if (!file || !hostId) throw notFound(`export ${jobId} is not made yet`);
    if (offset > file.fileBytes) throw invalidArgument(`the file ends at ${file.fileBytes}`);
    let doneBytes = offset;
    for await (const piece of hosts.agent(hostId).readExport({ exportId: exportIdOf(jobId), offset }, signal)) {
      doneBytes += lengthOf(piece);
      uploads.advance(job.id, doneBytes);
      jobs.progress(`${jobId}.serve`, doneBytes, file.fileBytes);
      yield piece;
      if (this.#isOver(jobId)) throw new ClusterError('CANCELLED', `the export has ended: berth job show ${jobId}`);
    }
  }

  finish(t: Ticket): void {
    const { jobId } = t;
    const job = this.#job(t);
    this.deps.uploads.received(job.id, this.#made(jobId)?.fileBytes ?? 0);
    this.deps.jobs.nudge(job.id);
  }

  #isOver(jobId: string): boolean {
    const job = this.deps.state.tables.jobs.get(jobId);
    return job === undefined || isEnded(job.state) || job.state === 'unwinding' || job.cancelRequested;
  }

  #out(jobId: string, step: string): unknown {
    const end = this.deps.state.jobLog(jobId as JobId).find((e) => e.step === step && e.type === 'succeeded');
    return end?.data;
  }

  #made = (jobId: string): MadeFile | undefined => this.#out(jobId, 'make') as MadeFile | undefined;
  #hostOf = (jobId: string): HostId | undefined =>
    (this.#out(jobId, 'place') as { hostId?: HostId } | undefined)?.hostId;

  #isReceived = (job: Job): boolean => this.deps.uploads.seen(job.id)?.state === 'received';

  /** Of one that can be fetched now. */
  #job(t: Ticket): Job {
    const job = this.#known(t);
    if (this.#isOver(t.jobId) || this.#isReceived(job)) throw gone(t.jobId);
    return job;
  }

  #known({ jobId, ticket, user }: Ticket): Job {
    const job = this.deps.state.tables.jobs.get(jobId);
    if (job === undefined || !KINDS.includes(job.kind)) throw gone(jobId);
    const { ticketHash } = job.params as unknown as ExportParams;
    const fits = timingSafeEqual(Buffer.from(hash(ticket), 'hex'), Buffer.from(ticketHash, 'hex'));
    if (fits && job.user === user) return job;
    throw new ClusterError('PERMISSION_DENIED', 'the ticket is not the one that was given for this export');
  }
}
