/** berth image import: streams a file from here to a host's pool. The file is looked at here first, so that a mistake costs nothing. */
import { open, type FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Api } from '../core/api.ts';
import { text, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { shortDigest } from '../core/words.ts';
import { followJob } from '../job/follow.ts';
import { createLive, type Live } from '../output/live.ts';

const CHUNK_BYTES = 256 * 1024;

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
  ],
  async run(ctx, [path = ''], flags) {
    const name = text(flags, 'name') ?? basename(path).replace(/\.(qcow2?|raw|img)$/i, '');
    const format = text(flags, 'format') ?? '';
    const file = await open(path, 'r').catch((e: Error) => {
      throw invalidArgument(`can't read ${path}`, {}, e);
    });
    const live = createLive(ctx);
    try {
      const { size } = await file.stat();
      const read = async (offset: number, length: number) => {
        const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      };
      await inspectDiskImage({ name: basename(path), sizeBytes: size, read }, format);
      await transfer(ctx, live, { file, size, name, format, host: text(flags, 'host') ?? '' });
    } finally {
      live.end();
      await file.close();
    }
  },
};

interface Transfer {
  readonly file: FileHandle;
  readonly size: number;
  readonly name: string;
  readonly format: string;
  readonly host: string;
}

async function transfer(ctx: Context, live: Live, t: Transfer): Promise<void> {
  const api = await ctx.api();
  const r = await api.call(api.images, (c) => c.importImage, {
    name: t.name,
    fileBytes: BigInt(t.size),
    format: t.format,
    host: t.host,
  });
  const followed = followJob(ctx, api, r.jobId, (p) => live.set('job', `image ${t.name} ${p}`));
  const sent = send(ctx, api, live, { ...t, imageId: r.image?.id ?? '', ticket: r.uploadTicket });
  // Whichever fails first tells why; when the job fails, the broken upload is only its consequence.
  const outcome = await Promise.allSettled([followed, sent]);
  const failure = outcome.find((o) => o.status === 'rejected');
  if (failure) {
    if (outcome[0].status === 'fulfilled') return;
    await cancelQuietly(ctx, api, r.jobId);
    throw better(outcome[0].reason, outcome[1].status === 'rejected' ? outcome[1].reason : undefined);
  }
  const image = await api.call(api.images, (c) => c.getImage, { image: t.name });
  live.end();
  note(
    ctx,
    `image ${t.name} imported to ${image.copies.map((c) => c.host).join(', ')}: ${shortDigest(image.digest)}, ${formatFileBytes(Number(image.virtualSizeBytes))} virtual`,
  );
}

const better = (jobError: unknown, uploadError: unknown): unknown =>
  uploadError instanceof ClusterError &&
  uploadError.reason !== 'CONTROLLER_UNREACHABLE' &&
  uploadError.reason !== 'CANCELLED'
    ? uploadError
    : jobError;

async function cancelQuietly(ctx: Context, api: Api, job: string): Promise<void> {
  if (ctx.signal.aborted) await api.call(api.jobs, (c) => c.cancelJob, { job }).catch(() => {});
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
  const buffer = Buffer.alloc(CHUNK_BYTES);
  for (let offset = 0; offset < t.size && !over;) {
    const { bytesRead } = await t.file.read(buffer, 0, CHUNK_BYTES, offset);
    if (bytesRead === 0) break;
    offset += bytesRead;
    const flowing = sink.write({ message: { $case: 'data', value: Buffer.from(buffer.subarray(0, bytesRead)) } });
    live.set('upload', `sending ${formatFileBytes(offset)} of ${formatFileBytes(t.size)}`);
    if (!flowing) await Promise.race([new Promise((resolve) => sink.once('drain', resolve)), ended.catch(() => {})]);
  }
  sink.end();
  await ended;
  live.set('upload', undefined);
}
