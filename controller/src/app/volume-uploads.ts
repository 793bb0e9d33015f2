/**
 * Files that people send to be volumes: starts the job, gives out a ticket for each stream, and lets that through to the host. How
 * much is there the host alone knows; tickets live in memory, and who has lost one asks for another. Stores no bytes.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Readable } from 'node:stream';
import { alreadyExists, badState, ClusterError, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { JobId } from '@berth/shared/model/ids.ts';
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs, LockName } from '../jobs/engine/jobs.ts';
import type { Uploads } from '../jobs/uploads.ts';
import { volumeUpload, volumeUploadId, type UploadParams } from '../jobs/volume-upload.ts';
import type { WorldView } from '../jobs/world.ts';
import type { State, Tx } from '../state/state.ts';
import { relay } from './relay.ts';
import { untilBegun } from './step-begun.ts';
import {
  isSameUpload,
  newUpload,
  replacement,
  type UploadAgain,
  type UploadFile,
  type UploadVolume,
  type UploadWanted,
} from './upload-wanted.ts';
import { resolveVolume, volumesNamed } from './volume-names.ts';
import { viewVolume, type VolumeView } from './volume-view.ts';

export interface VolumeUploadDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly uploads: Uploads;
  readonly clock: Clock;
  readonly world: WorldView;
}

export interface UploadBegun {
  readonly view: VolumeView;
  readonly jobId: JobId;
  /** It was begun before. */
  readonly resumed: boolean;
}

export interface UploadOpened {
  readonly ticket: string;
  readonly offset: number;
  readonly tailSha256: string;
}

/** What a stream begins with. */
export interface SendBegin {
  readonly jobId: string;
  readonly ticket: string;
  readonly offset: number;
}

interface Ticket {
  readonly hash: Buffer;
  readonly user: string;
  readonly untilMs: number;
}

const TICKET_MS = 120_000;
const hash = (ticket: string): Buffer => createHash('sha256').update(ticket).digest();

export class VolumeUploads {
  /** Each for one stream. */
  readonly #tickets = new Map<JobId, Ticket>();
  readonly #active = new Map<JobId, Readable>();

  constructor(private readonly deps: VolumeUploadDeps) {}

  /** @throws as newUpload */
  async begin(r: UploadVolume, user: string): Promise<UploadBegun> {
    const { state } = this.deps;
    const made = await state.update((tx) => {
      const [there] = volumesNamed(tx, r.name);
      const before = there?.volume?.state === 'creating' && this.#before(there.volume.id, r, user);
      return before ? { ...before, resumed: true } : this.#start(tx, newUpload(r, this.#seen()), user);
    });
    return this.#begun(made);
  }

  /** In the place of one that stands alone. @throws as replacement */
  async replace(nameOrId: string, r: { file: UploadFile; format: string }, user: string): Promise<UploadBegun> {
    const { state } = this.deps;
    const made = await state.update((tx) => {
      const found = resolveVolume(state.tables, nameOrId);
      const before = found.volume && this.#before(found.volume.id, r, user);
      return before ? { ...before, resumed: true } : this.#start(tx, replacement(found, r, this.#seen()), user);
    });
    return this.#begun(made);
  }

  /** Cuts off who still sends. The ticket is in this answer and nowhere else. */
  async open(jobId: string, user: string): Promise<UploadOpened> {
    const { state, hosts, uploads, clock } = this.deps;
    const { job, params } = this.#job(jobId, user);
    uploads.begin(job.id);
    this.#cutOff(job.id);
    // only a job that waits for bytes takes them back when it is undone
    await untilBegun(state, job.id, 'receive', () => !this.#isOver(job.id));
    if (this.#isOver(job.id)) throw this.#ended(job.id);
    const { receivedBytes, tailSha256 } = await hosts.agent(params.hostId).uploaded.find(volumeUploadId(job.id));
    const ticket = newSecret();
    const nowMs = clock.now();
    for (const [id, t] of this.#tickets) if (t.untilMs < nowMs) this.#tickets.delete(id);
    this.#tickets.set(job.id, { hash: hash(ticket), user, untilMs: nowMs + TICKET_MS });
    return { ticket, offset: receivedBytes, tailSha256 };
  }

  /** Sends the pieces on to the host. Resolves when that has all of the file, and it is right. @param ending its SHA-256 */
  async send(b: SendBegin, data: Readable, ending: () => string, user: string): Promise<number> {
    const { uploads, jobs } = this.deps;
    const { job, params } = this.#job(b.jobId, user);
    this.#redeem(job.id, b.ticket, user);
    const { fileBytes } = params;
    const relayed = relay(
      data,
      fileBytes,
      () => !this.#isOver(job.id),
      (doneBytes) => {
        uploads.advance(job.id, doneBytes);
        jobs.progress(volumeUploadId(job.id), doneBytes, fileBytes);
      },
      b.offset,
    );
    this.#active.set(job.id, relayed);
    uploads.advance(job.id, b.offset);
    try {
      return await this.#toHost(job, params, { offset: b.offset, relayed, ending });
    } catch (e) {
      const cause = relayed.errored ?? e;
      if (this.#active.get(job.id) === relayed) this.#stopped(job.id, cause);
      throw cause;
    } finally {
      if (this.#active.get(job.id) === relayed) this.#active.delete(job.id);
      jobs.nudge(job.id);
    }
  }

  async #toHost(
    job: Job,
    { hostId, fileBytes, allocatedBytes }: UploadParams,
    s: { readonly offset: number; readonly relayed: Readable; readonly ending: () => string },
  ): Promise<number> {
    const part = { uploadId: volumeUploadId(job.id), fileBytes, allocatedBytes, offset: s.offset };
    const received = await this.deps.hosts.agent(hostId).uploaded.send(part, s.relayed, s.ending);
    this.deps.uploads.paused(job.id); // the host says that it has all
    return received;
  }

  #cutOff(jobId: JobId): void {
    const before = this.#active.get(jobId);
    if (!before) return;
    this.#active.delete(jobId);
    this.deps.uploads.paused(jobId);
    before.destroy(new ClusterError('CANCELLED', 'the upload goes on with another ticket'));
  }

  /** What is wrong for good ends the job; else what came waits for another stream. */
  #stopped(jobId: JobId, e: unknown): void {
    const { uploads } = this.deps;
    if (isClusterError(e, 'DISK_FULL', 'DIGEST_MISMATCH')) uploads.broken(jobId, e.message, e.reason);
    else uploads.paused(jobId);
  }

  #redeem(jobId: JobId, ticket: string, user: string): void {
    const given = this.#tickets.get(jobId);
    if (given === undefined)
      throw badState('this upload ticket has been used already, or has expired. Ask for another to go on');
    if (!timingSafeEqual(given.hash, hash(ticket)) || given.user !== user)
      throw new ClusterError('PERMISSION_DENIED', 'the upload ticket is not the one that was given for this upload');
    this.#tickets.delete(jobId);
    if (given.untilMs < this.deps.clock.now())
      throw badState('this upload ticket has expired. Ask for another to go on');
  }

  #start(tx: Tx, { params, row, name }: UploadWanted, user: string) {
    if (row) tx.volumes.put(row);
    const { volumeId: id, contentId, poolId } = params;
    const locks: LockName[] = [`volume/${id}:exclusive`];
    if (contentId !== id) locks.push(`volume/${contentId}:exclusive`);
    if (poolId) locks.push(`pool/${poolId}:shared`);
    const jobId = this.deps.jobs.start(tx, volumeUpload, params, { subject: name, locks, user });
    return { id, jobId, resumed: false };
  }

  /** The upload that this caller has begun and not ended. @throws ALREADY_EXISTS when it is of another file, or is to be otherwise */
  #before(volumeId: string, again: UploadAgain, user: string) {
    const { tables } = this.deps.state;
    const job = tables.jobs.holders(`volume/${volumeId}`).find((j) => j.kind === volumeUpload.kind);
    if (job === undefined || this.#isOver(job.id)) return undefined;
    const params = job.params as unknown as UploadParams;
    if (job.user === user && isSameUpload(params, again, tables)) return { id: volumeId, jobId: job.id };
    const whose =
      job.user === user ? 'another file is being uploaded to it, or in another way' : `${job.user} is uploading to it`;
    throw alreadyExists(`volume ${job.subject} exists already: ${whose}. To give that up: berth job cancel ${job.id}`);
  }

  #job(jobId: string, user: string): { job: Job; params: UploadParams } {
    const job = this.deps.state.tables.jobs.get(jobId);
    if (job?.kind !== volumeUpload.kind || this.#isOver(job.id)) throw this.#ended(jobId);
    if (job.user !== user)
      throw new ClusterError(
        'PERMISSION_DENIED',
        `upload ${jobId} is somebody else's: only who began it goes on with it`,
      );
    return { job, params: job.params as unknown as UploadParams };
  }

  /** Also when all has come: nothing more is taken then. */
  #isOver(jobId: string): boolean {
    const { state } = this.deps;
    const job = state.tables.jobs.get(jobId);
    if (job === undefined || isEnded(job.state) || job.state === 'unwinding' || job.cancelRequested) return true;
    return state.jobLog(job.id).some((e) => e.step === 'receive' && e.type === 'succeeded');
  }

  #ended = (jobId: string): ClusterError =>
    notFound(
      `no upload ${jobId.slice(0, 80)} waits for bytes (any more): berth job show ${jobId.slice(0, 80)} says why`,
    );

  #begun({ id, ...made }: { id: string; jobId: JobId; resumed: boolean }): UploadBegun {
    const { state, hosts } = this.deps;
    return { ...made, view: viewVolume(resolveVolume(state.tables, id), { tables: state.tables, hosts }) };
  }

  #seen() {
    const { state, hosts, clock, world } = this.deps;
    return { tables: state.tables, hosts, world, nowMs: clock.now() };
  }
}
