/**
 * berth image import: streams a disk from here to a host's pool: of a file, of an archive, of a URL, of standard input. It is looked
 * at here first, so that a mistake costs nothing. Where the bytes come from is source/'s, what an OVA holds ova.ts's.
 */
import { basename } from 'node:path';
import type { UploadImageRequest } from '@berth/proto/v1/image.ts';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { lengthOf, piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { joinImageName, splitImageName } from '@berth/shared/model/image-name.ts';
import { isObjectName } from '@berth/shared/model/object-name.ts';
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Api } from '../core/api.ts';
import { list, text, type Command, type Flags } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { paced } from '../core/paced.ts';
import { shortDigest } from '../core/words.ts';
import { followJob } from '../job/follow.ts';
import { createLive, type Live } from '../output/live.ts';
import { readAppliance } from './ova.ts';
import { DEFAULT_FLAGS, defaultsOf } from './set.ts';
import { httpSource, isUrl, looksLikeUrl, nameOfUrl } from './source/http.ts';
import { fileSource, verified, type ByteSource } from './source/source.ts';
import { spooled } from './source/spool.ts';

/** Runs of zeros are told at least so often, so that it is seen that something moves. */
const LONGEST_RUN = 1024 ** 3;
const ENDING = /\.(qcow2?|raw|img|iso|vmdk|vdi|vhdx?|vpc|ova|ovf)$/i;

export const imageImport: Command = {
  noun: 'image',
  verb: 'import',
  summary: 'bring a disk image into Berth, from this machine or from a URL',
  details: `Examples:
  berth image import debian-12.qcow2 --name debian:12.3 --memory 1GiB
  berth image import https://example.org/debian-12.qcow2 --sha256 9f2c…
  berth image import appliance.ova
  xz -dc disk.raw.xz | berth image import - --name disk
The image is named after the file unless --name says otherwise. Known formats: qcow2, vmdk, vdi, vhdx, vpc, and raw with a partition
table or file system; a raw image without either can be imported with --format raw. A URL is fetched by this command, not by a host, and
gone on with after a break. Of an OVA, memory, vCPUs, firmware and network cards become what VMs made of it get, unless flags say
otherwise; each of its disks becomes an image.`,
  args: [{ name: 'file', description: 'the image file, a URL, or - for standard input', required: true, kind: 'file' }],
  flags: [
    { spec: '--name <name>', description: 'name of the image (default: the name of the file without its ending)' },
    {
      spec: '--format <format>',
      description: 'raw: accept a raw image that can not be recognised; another: take nothing else',
      choices: ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'],
    },
    { spec: '--sha256 <digest>', description: 'what the file must hash to' },
    { spec: '--host <host>', description: 'host that receives it', kind: 'host' },
    { spec: '--tag <tag>', description: 'a tag that it gets when it is there: stable, latest', many: true },
    ...DEFAULT_FLAGS,
  ],
  async run(ctx, [path = ''], flags) {
    const said = text(flags, 'name');
    if (path === '-' && said === undefined) throw invalidArgument('what shall it be called? Give --name');
    if (looksLikeUrl(path) && !isUrl(path))
      throw invalidArgument(
        `${path.slice(0, 200)} can't be fetched: images come from http and https, or from a file here`,
      );
    const name = said ?? (isUrl(path) ? nameOfUrl(path) : basename(path)).replace(ENDING, '');
    const defaults = defaultsOf(flags);
    const source = await opened(ctx, path, flags);
    ctx.finishUnread();
    const live = createLive(ctx);
    try {
      const local = path === '-' || isUrl(path) ? undefined : path;
      const all = await transfers(source, { name, local, defaults, flags });
      if (said === undefined) insistName(name);
      for (const t of all) await transfer(ctx, live, t);
    } finally {
      live.end();
      await source.close();
    }
  },
};

/** Files have names that nothing in Berth can have. Told after what the file is: that may be the greater fault. */
function insistName(name: string): void {
  if (isObjectName(splitImageName(name).name)) return;
  throw invalidArgument(
    `what shall the image be called? ${JSON.stringify(name)} is no name for it: give one with --name`,
  );
}

async function opened(ctx: Context, path: string, flags: Flags): Promise<ByteSource> {
  const digest = text(flags, 'sha256');
  if (digest !== undefined && !/^[0-9a-fA-F]{64}$/.test(digest))
    throw invalidArgument(`--sha256 ${digest.slice(0, 80)} is no SHA-256: 64 hexadecimal digits`);
  const source = await (path === '-'
    ? spooled(ctx.stdin, 'standard input', ctx.signal)
    : isUrl(path)
      ? httpSource(path, ctx)
      : fileSource(path));
  return digest === undefined ? source : verified(source, { algorithm: 'sha256', digest }, '--sha256');
}

interface Asked {
  readonly name: string;
  /** Path of a file here. */
  readonly local: string | undefined;
  readonly defaults: VmDefinition | undefined;
  readonly flags: Flags;
}

/** All are looked at before the first is sent. */
async function transfers(source: ByteSource, { name, local, defaults, flags }: Asked): Promise<readonly Transfer[]> {
  const format = text(flags, 'format') ?? '';
  const about = { host: text(flags, 'host') ?? '', tags: list(flags, 'tag') };
  const appliance = format === '' ? await readAppliance(source, local) : undefined;
  const disks = appliance?.disks ?? [source];
  for (const disk of disks) await inspectDiskImage(disk, format);
  if (appliance && text(flags, 'sha256') !== undefined) for await (const _ of source.stream());
  return disks.map((disk, i) => {
    const all = i > 0 ? undefined : appliance ? { ...appliance.defaults, ...defaults } : defaults;
    return { ...about, source: disk, format, name: i === 0 ? name : nameOfDisk(name, i + 1), defaults: all };
  });
}

/** `debian-disk2:12` */
function nameOfDisk(said: string, n: number): string {
  const { name, version } = splitImageName(said);
  return joinImageName({ name: `${name}-disk${n}`, version });
}

export interface Transfer {
  readonly source: ByteSource;
  readonly name: string;
  readonly format: string;
  readonly host: string;
  readonly defaults: VmDefinition | undefined;
  readonly tags: readonly string[];
}

export async function transfer(ctx: Context, live: Live, t: Transfer): Promise<void> {
  const api = await ctx.api();
  const r = await api.call(api.images, (c) => c.importImage, {
    name: t.name,
    fileBytes: BigInt(t.source.sizeBytes),
    allocatedBytes: BigInt(t.source.allocatedBytes),
    format: t.format,
    host: t.host,
    ...(t.defaults && { defaultSpec: definitionToWire(t.defaults) }),
  });
  // while it is sent, the line of the sending says as much
  const show = (p: string): void => live.set('job', p.startsWith('receive') ? undefined : `image ${t.name} ${p}`);
  const followed = followJob(ctx, api, r.jobId, show);
  const sent = send(ctx, api, live, { ...t, imageId: r.image?.id ?? '', ticket: r.uploadTicket });
  // Nobody else can send this file: without it the job has nothing to wait for.
  sent.catch(() => api.call(api.jobs, (c) => c.cancelJob, { job: r.jobId }).catch(() => {}));
  const [job, upload] = await Promise.allSettled([followed, sent]);
  live.end();
  if (ctx.signal.aborted) await cancelled(ctx, api, r.jobId, t.name);
  if (job.status === 'rejected') throw named(telling(job.reason, upload), t.source.name);
  // by now its name may be that of another, which came in the meantime
  const id = r.image?.id ?? '';
  if (t.tags.length > 0)
    await api.call(api.images, (c) => c.tagImage, { image: id, tags: [...t.tags], removeTags: [] });
  const image = await api.call(api.images, (c) => c.getImage, { image: id });
  const size = formatBytes(Number(image.virtualSizeBytes));
  const hosts = image.copies.map((c) => c.host).join(', ');
  print(ctx, `image ${image.name} imported to ${hosts}: ${shortDigest(image.digest)}, ${size} virtual`);
}

/** Whichever failed first tells why; when the job fails, the broken upload is only its consequence, and the other way round. */
function telling(jobError: unknown, upload: PromiseSettledResult<void>): unknown {
  if (upload.status === 'fulfilled' || isClusterError(upload.reason, 'CONTROLLER_UNREACHABLE', 'CANCELLED'))
    return jobError;
  return upload.reason;
}

/** The host knows the file only as what was uploaded. */
export function named(e: unknown, name: string): unknown {
  const subject = isClusterError(e) ? e.meta['subject'] : undefined;
  if (!isClusterError(e) || subject === undefined || !e.message.startsWith(subject)) return e;
  return new ClusterError(e.reason, name + e.message.slice(subject.length), e.meta);
}

async function cancelled(ctx: Context, api: Api, job: string, image: string): Promise<void> {
  await api.call(api.jobs, (c) => c.cancelJob, { job }).catch(() => {});
  note(ctx, `The import of image ${image} is cancelled; nothing of it stays.`);
}

async function send(
  ctx: Context,
  api: Api,
  live: Live,
  t: Transfer & { imageId: string; ticket: string },
): Promise<void> {
  const { sink, done } = api.upload(ctx.signal);
  let over = false;
  const ended = done.finally(() => (over = true));
  ended.catch(() => {});
  const write = paced<UploadImageRequest>(sink, ended);
  await write({ message: { $case: 'begin', value: { imageId: t.imageId, ticket: t.ticket } } });
  let sentBytes = 0;
  try {
    for await (const piece of piecesOfSource(t.source)) {
      if (over) break;
      await write({ message: messageOf(piece) });
      sentBytes += lengthOf(piece);
      live.set('upload', `sending ${formatFileBytes(sentBytes)} of ${formatFileBytes(t.source.sizeBytes)}`);
    }
  } catch (e) {
    sink.cancel(); // what could not be read whole must not look whole there
    throw e;
  }
  sink.end();
  await ended;
  live.set('upload', undefined);
}

/** Holes can't be asked for, so they are read, which is cheap; what is sent of them is their length. */
async function* piecesOfSource(source: ByteSource): AsyncGenerator<Piece> {
  let zeros = 0;
  for await (const bytes of source.stream())
    for (const piece of piecesOf(bytes)) {
      if (typeof piece === 'number') zeros += piece;
      if (zeros > 0 && (typeof piece !== 'number' || zeros >= LONGEST_RUN)) {
        yield zeros;
        zeros = 0;
      }
      if (typeof piece !== 'number') yield piece;
    }
  if (zeros > 0) yield zeros;
}

const messageOf = (piece: Piece): UploadImageRequest['message'] =>
  typeof piece === 'number'
    ? { $case: 'zeros', value: BigInt(piece) }
    : { $case: 'data', value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) };
