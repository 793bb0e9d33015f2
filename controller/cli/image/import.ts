/** berth image import: streams a file from here to a host's pool. The file is looked at here first, so that a mistake costs nothing. */
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import type { UploadImageRequest } from '@berth/proto/v1/image.ts';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { lengthOf, piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Api } from '../core/api.ts';
import { list, text, type Command } from '../core/command.ts';
import { unreadable } from '../core/files.ts';
import { note, print, type Context } from '../core/context.ts';
import { shortDigest } from '../core/words.ts';
import { followJob } from '../job/follow.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import type { VmDefinition } from '@berth/shared/hardware/definition.ts';
import { DEFAULT_FLAGS, defaultsOf } from './set.ts';
import { createLive, type Live } from '../output/live.ts';

const CHUNK_BYTES = 256 * 1024;
/** Runs of zeros are told at least so often, so that it is seen that something moves. */
const LONGEST_RUN = 1024 ** 3;
/** What `stat` counts in. */
const SECTOR_BYTES = 512;

export const imageImport: Command = {
  noun: 'image',
  verb: 'import',
  summary: 'bring a disk image from this machine into Berth',
  details: `The image is named after the file unless --name says otherwise. Known formats: qcow2, and raw with a partition
table or file system. A raw image without either can be imported with --format raw.`,
  args: [{ name: 'file', description: 'the image file', required: true, kind: 'file' }],
  flags: [
    { spec: '--name <name>', description: 'name of the image (default: the name of the file without its ending)' },
    {
      spec: '--format <format>',
      description: 'raw: accept a raw image that can not be recognised',
      choices: ['raw', 'qcow2'],
    },
    { spec: '--host <host>', description: 'host that receives it', kind: 'host' },
    { spec: '--tag <tag>', description: 'a tag that it gets when it is there: stable, latest', many: true },
    ...DEFAULT_FLAGS,
  ],
  async run(ctx, [path = ''], flags) {
    const name = text(flags, 'name') ?? basename(path).replace(/\.(qcow2?|raw|img|iso)$/i, '');
    const format = text(flags, 'format') ?? '';
    const file = await open(path, 'r').catch((e: Error) => {
      throw unreadable(path, e);
    });
    ctx.finishUnread();
    const live = createLive(ctx);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw invalidArgument(`can't read ${path}: it is not a file`);
      const { size } = stat;
      const allocated = Math.min(size, Math.max(SECTOR_BYTES, stat.blocks * SECTOR_BYTES));
      const read = async (offset: number, length: number) => {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      };
      await inspectDiskImage({ name: basename(path), sizeBytes: size, read }, format);
      await transfer(ctx, live, {
        file: { handle: file, name: basename(path) },
        size,
        allocated,
        name,
        format,
        host: text(flags, 'host') ?? '',
        defaults: defaultsOf(flags),
        tags: list(flags, 'tag'),
      });
    } finally {
      live.end();
      await file.close();
    }
  },
};

interface Transfer {
  readonly file: { readonly handle: FileHandle; readonly name: string };
  readonly size: number;
  /** Without holes, as far as the file system says. */
  readonly allocated: number;
  readonly name: string;
  readonly format: string;
  readonly host: string;
  readonly defaults: VmDefinition | undefined;
  readonly tags: readonly string[];
}

async function transfer(ctx: Context, live: Live, t: Transfer): Promise<void> {
  const api = await ctx.api();
  const r = await api.call(api.images, (c) => c.importImage, {
    name: t.name,
    fileBytes: BigInt(t.size),
    allocatedBytes: BigInt(t.allocated),
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
  if (job.status === 'rejected') throw named(telling(job.reason, upload), t.file.name);
  if (t.tags.length > 0)
    await api.call(api.images, (c) => c.tagImage, { image: t.name, tags: [...t.tags], removeTags: [] });
  const image = await api.call(api.images, (c) => c.getImage, { image: r.image?.id ?? '' });
  const size = formatBytes(Number(image.virtualSizeBytes));
  const hosts = image.copies.map((c) => c.host).join(', ');
  print(ctx, `image ${t.name} imported to ${hosts}: ${shortDigest(image.digest)}, ${size} virtual`);
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
  sink.write({ message: { $case: 'begin', value: { imageId: t.imageId, ticket: t.ticket } } });
  let sentBytes = 0;
  for await (const piece of piecesOfFile(t)) {
    if (over) break;
    const flowing = sink.write({ message: messageOf(piece) });
    sentBytes += lengthOf(piece);
    live.set('upload', `sending ${formatFileBytes(sentBytes)} of ${formatFileBytes(t.size)}`);
    if (!flowing) await Promise.race([new Promise((resolve) => sink.once('drain', resolve)), ended.catch(() => {})]);
  }
  sink.end();
  await ended;
  live.set('upload', undefined);
}

/** Holes can't be asked for, so they are read, which is cheap; what is sent of them is their length. */
async function* piecesOfFile({ file, size }: Transfer): AsyncGenerator<Piece> {
  let zeros = 0;
  let buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let offset = 0; offset < size;) {
    const { bytesRead } = await file.handle.read(buffer, 0, CHUNK_BYTES, offset);
    if (bytesRead === 0) break;
    offset += bytesRead;
    const pieces = [...piecesOf(buffer.subarray(0, bytesRead))];
    for (const piece of pieces) {
      if (typeof piece === 'number') zeros += piece;
      if (zeros > 0 && (typeof piece !== 'number' || zeros >= LONGEST_RUN)) {
        yield zeros;
        zeros = 0;
      }
      if (typeof piece !== 'number') yield piece;
    }
    if (pieces.some((p) => typeof p !== 'number')) buffer = Buffer.allocUnsafe(CHUNK_BYTES); // it is on its way
  }
  if (zeros > 0) yield zeros;
}

const messageOf = (piece: Piece): UploadImageRequest['message'] =>
  typeof piece === 'number'
    ? { $case: 'zeros', value: BigInt(piece) }
    : { $case: 'data', value: Buffer.from(piece.buffer, piece.byteOffset, piece.length) };
