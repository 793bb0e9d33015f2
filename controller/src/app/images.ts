/** What people may do with images: checks, writes intent, starts jobs, and lets one upload through to its host. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Readable } from 'node:stream';
import { bytesOf } from '@berth/shared/disk/pieces.ts';
import { badState, ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { newId, type HostId, type ImageId, type JobId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { isEnded } from '@berth/shared/model/job.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { imageDelete } from '../jobs/image-delete.ts';
import { imageImport, uploadIdOf, type ImportParams } from '../jobs/image-import.ts';
import { chooseReceiver } from '../jobs/image-place.ts';
import type { Uploads } from '../jobs/uploads.ts';
import type { State } from '../state/state.ts';
import { checkDefaults } from './image-defaults.ts';
import { retag, shownTags, takeImageName, type TagChange } from './image-versions.ts';
import { checkImageName, resolve } from './names.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';
import { PIECES_AHEAD, relay } from './relay.ts';
import { untilBegun } from './step-begun.ts';
import { usableImage } from './usable-image.ts';

export interface ImageDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly uploads: Uploads;
  readonly clock: Clock;
}

export interface ImageView {
  readonly image: Image;
  readonly copies: readonly { readonly host: string; readonly fileBytes: number }[];
  readonly vmCount: number;
  /** With `latest`, where its name alone means it. */
  readonly tags: readonly string[];
  readonly jobId: JobId | undefined;
}

export interface ImportImage {
  readonly name: string;
  readonly fileBytes: number;
  /** How much of it is not holes, as the caller says: room is asked for so much. */
  readonly allocatedBytes: number;
  /** Empty: detect by content. */
  readonly format: string;
  /** Empty: the host with most room. */
  readonly host: string;
  /** What VMs made of it get where nothing else is said. */
  readonly defaults?: VmDefinition | undefined;
}

/** Never more than the file. */
const allocatedOf = (r: Pick<ImportImage, 'fileBytes' | 'allocatedBytes'>): number =>
  Math.min(r.fileBytes, r.allocatedBytes);

const LARGEST_FILE = 16 * 1024 ** 4;
const FORMATS: readonly string[] = ['', 'raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'];

/** What an upload shows; it is good for who began the import. */
export interface UploadTicket {
  readonly imageId: string;
  readonly ticket: string;
  readonly user: string;
}

export class Images {
  constructor(private readonly deps: ImageDeps) {}

  /** The ticket is in this answer and nowhere else. */
  async import(
    request: ImportImage,
    user: string,
  ): Promise<{ readonly view: ImageView; readonly jobId: JobId; readonly uploadTicket: string }> {
    const { state, clock } = this.deps;
    const uploadTicket = newSecret();
    const name = checkImageName(request.name);
    checkFile(request);
    const defaults = request.defaults && checkDefaults(`image ${name}`, request.defaults);
    const made = await state.update((tx) => {
      takeImageName(tx, name);
      const only = request.host === '' ? undefined : resolve('host', state.tables.hosts, request.host).id;
      const host = chooseReceiver(state.tables, this.deps, allocatedOf(request), only);
      const image = { ...emptyImage(name, clock.now()), ...(defaults && { defaults }) };
      tx.images.put(image);
      const { fileBytes, format } = request;
      const about = { imageId: image.id, hostId: host.id, fileBytes, allocatedBytes: allocatedOf(request) };
      const params = { ...about, format, ticketHash: hash(uploadTicket) };
      const options = { subject: name, locks: [`image/${image.id}:exclusive` as const], user };
      return { image, jobId: this.deps.jobs.start(tx, imageImport, params, options) };
    });
    return { view: this.#view(made.image), jobId: made.jobId, uploadTicket };
  }

  /** Sends the pieces on to the host of the import. Resolves when the host has them all; a ticket is good for one upload. */
  async upload(t: UploadTicket, data: Readable): Promise<number> {
    const { uploads, jobs, hosts, state } = this.deps;
    const { jobId, params, hostId } = this.#importOf(t);
    if (!uploads.begin(params.imageId))
      throw badState('this upload ticket has been used already. Import the image again.');
    const open = (): boolean => {
      const job = state.tables.jobs.get(jobId);
      return job !== undefined && !isEnded(job.state) && job.state !== 'unwinding' && !job.cancelRequested;
    };
    let counted: Readable | undefined;
    try {
      await this.#receiving(jobId, open);
      const { fileBytes, allocatedBytes = fileBytes } = params;
      const counts = hosts.status(hostId).facts?.capabilities.includes('upload.zeros') ?? false;
      const wanted = counts ? data : Readable.from(bytesOf(data), { highWaterMark: PIECES_AHEAD });
      counted = relay(wanted, fileBytes, open, (doneBytes) => {
        uploads.advance(params.imageId, doneBytes);
        jobs.progress(uploadIdOf(jobId), doneBytes, fileBytes);
      });
      const upload = { uploadId: uploadIdOf(jobId), fileBytes, allocatedBytes: counts ? allocatedBytes : fileBytes };
      const received = await hosts.agent(hostId).upload(upload, counted);
      uploads.received(params.imageId, received);
      return received;
    } catch (e) {
      // a relay that broke by itself cut the host off: what the host's end says then is only the consequence
      const cause = counted?.errored ?? e;
      uploads.broken(params.imageId, cause instanceof Error ? cause.message : 'unknown cause');
      throw cause;
    } finally {
      jobs.nudge(jobId);
    }
  }

  /** Only a job that waits for bytes takes them back when it is undone; so none are sent before. */
  async #receiving(jobId: JobId, open: () => boolean): Promise<void> {
    await untilBegun(this.deps.state, jobId, 'receive', open);
    if (!open()) throw new ClusterError('CANCELLED', `the import has ended: berth job show ${jobId} says why`);
  }

  async get(nameOrId: string): Promise<ImageView> {
    const view = this.#view(resolve('image', this.deps.state.tables.images, nameOrId));
    await this.deps.state.settled();
    return view;
  }

  /** @param query.hidden those that were made to clone VMs, too. */
  async list(query: PageQuery & { readonly hidden?: boolean | undefined }): Promise<Page<ImageView>> {
    const page = pageByName(this.deps.state.tables.images, query, (i) => query.hidden === true || i.hidden !== true);
    const items = page.items.map((i) => this.#view(i));
    await this.deps.state.settled();
    return { ...page, items };
  }

  async tag(nameOrId: string, change: TagChange): Promise<ImageView> {
    const { state } = this.deps;
    const { id } = await state.update((tx) => {
      if (change.set.length + change.remove.length === 0) throw invalidArgument('which tags? Give one, like stable');
      const image = usableImage(state.tables, nameOrId);
      const after = retag(tx, image, change);
      const message = `image ${image.name} has ${after.tags?.length ? `tags ${after.tags.join(', ')}` : 'no tags'} now`;
      tx.event(changed(after, message));
      return after;
    });
    return this.get(id);
  }

  /** @param defaults all of them. @param keepCopies 1 to 1000 */
  async set(nameOrId: string, change: Pick<Image, 'defaults' | 'keepCopies'>): Promise<ImageView> {
    const { state } = this.deps;
    const { keepCopies } = change;
    if (keepCopies !== undefined && !(Number.isInteger(keepCopies) && keepCopies >= 1 && keepCopies <= 1000))
      throw invalidArgument(`between 1 and 1000 copies of an image can be kept, not ${keepCopies}`);
    const { id } = await state.update((tx) => {
      const { defaults: before, ...image } = usableImage(state.tables, nameOrId);
      const said = change.defaults ? checkDefaults(`image ${image.name}`, change.defaults) : before;
      const defaults = said && Object.keys(said).length > 0 ? { defaults: said } : {};
      const after: Image = { ...image, ...defaults, ...(keepCopies !== undefined && { keepCopies }) };
      tx.images.put(after);
      tx.event(changed(after, `image ${image.name} changed: ${change.defaults ? 'default spec' : 'copies kept'}`));
      return after;
    });
    return this.get(id);
  }

  delete(nameOrId: string, user: string): Promise<{ readonly jobId: JobId }> {
    const { state, jobs } = this.deps;
    return state.update((tx) => {
      const image = resolve('image', state.tables.images, nameOrId);
      this.#checkUnused(image);
      if (image.state !== 'available') throw this.#busy(image);
      const options = { subject: image.name, locks: [`image/${image.id}:exclusive` as const], user };
      return { jobId: jobs.start(tx, imageDelete, { imageId: image.id }, options) };
    });
  }

  #checkUnused(image: Image): void {
    const [volume] = this.deps.state.tables.volumes.byImage(image.id);
    if (volume)
      throw new ClusterError(
        'IN_USE',
        `image ${image.name} is in use: volume ${volume.name} is based on it. Delete that first (berth volume delete ${volume.name})`,
      );
    const vms = this.deps.state.tables.vms
      .byImage(image.id)
      .map((vm) => vm.name)
      .sort();
    if (vms.length === 0) return;
    const named = vms.slice(0, 5).join(', ') + (vms.length > 5 ? ` and ${vms.length - 5} more` : '');
    const inDrives = this.deps.state.tables.vms
      .byImage(image.id)
      .every(({ spec, live }) => [spec, live].every((s) => !s?.disks.some((d) => d.imageId === image.id)));
    if (inDrives)
      throw new ClusterError(
        'IN_USE',
        `image ${image.name} is in use: it is in the CD-ROM drive of ${vms.length === 1 ? 'vm' : 'vms'} ${named}. ` +
          `Take it out first (berth vm eject ${vms[0]})`,
        { vms: vms.slice(0, 100).join(',') },
      );
    const [noun, them] = vms.length === 1 ? ['vm', 'it'] : ['vms', 'them'];
    throw new ClusterError(
      'IN_USE',
      `image ${image.name} is in use: the disks of ${noun} ${named} are based on it. Delete ${them} first.`,
      { vms: vms.slice(0, 100).join(',') },
    );
  }

  #busy(image: Image): ClusterError {
    const job = this.deps.state.tables.jobs.holders(`image/${image.id}`)[0]?.id ?? '';
    const cancel = image.state === 'importing' ? ` To give it up: berth job cancel ${job}` : '';
    return new ClusterError(
      'RESOURCE_BUSY',
      `image ${image.name} is ${image.state}: job ${job} works on it.${cancel}`,
      {
        jobId: job,
      },
    );
  }

  #importOf({ imageId, ticket, user }: UploadTicket): { jobId: JobId; params: ImportParams; hostId: HostId } {
    const { tables } = this.deps.state;
    const job = tables.jobs.holders(`image/${imageId}`).find((j) => j.kind === imageImport.kind);
    const params = job?.params as unknown as ImportParams | undefined;
    if (!job || !params || params.hostId === null || isEnded(job.state))
      throw notFound(`no import waits for the bytes of image ${imageId.slice(0, 80)}. Import it again.`);
    const [given, wanted] = [hash(ticket), params.ticketHash].map((h) => Buffer.from(h, 'hex')) as [Buffer, Buffer];
    if (!timingSafeEqual(given, wanted) || job.user !== user)
      throw new ClusterError('PERMISSION_DENIED', 'the upload ticket is not the one that was given for this image');
    return { jobId: job.id, params, hostId: params.hostId };
  }

  #view(image: Image): ImageView {
    const { tables } = this.deps.state;
    return {
      image,
      copies: tables.imageCopies
        .byImage(image.id)
        .map((c) => ({ host: tables.hosts.get(c.hostId)?.name ?? c.hostId, fileBytes: c.fileBytes }))
        .sort((a, b) => (a.host < b.host ? -1 : 1)),
      vmCount: tables.vms.byImage(image.id).length,
      tags: shownTags(tables, image),
      jobId: tables.jobs.holders(`image/${image.id}`).find((j) => j.kind.startsWith('image.'))?.id,
    };
  }
}

const changed = ({ name }: Image, message: string) => ({
  ...{ type: 'image.changed', severity: 'info' as const, subjectKind: 'image' as const, subject: name, message },
  jobId: undefined,
});

const hash = (ticket: string): string => createHash('sha256').update(ticket).digest('hex');

const emptyImage = (name: string, nowMs: number): Image => ({
  id: newId('image', nowMs) satisfies ImageId,
  name,
  state: 'importing',
  digest: undefined,
  sourceDigest: undefined,
  virtualSizeBytes: 0,
  createdAtMs: nowMs,
});

function checkFile({ name, fileBytes, format }: ImportImage): void {
  if (!Number.isSafeInteger(fileBytes) || fileBytes < 0) throw invalidArgument('the size of the file is not a number');
  if (fileBytes === 0) throw invalidArgument(`the file for image ${name} is empty`);
  if (fileBytes > LARGEST_FILE)
    throw invalidArgument(`the file for image ${name} is larger than ${formatBytes(LARGEST_FILE)}`);
  if (!FORMATS.includes(format))
    throw invalidArgument(`${JSON.stringify(format.slice(0, 40))} is no known format: ${FORMATS.slice(1).join(', ')}`);
}
