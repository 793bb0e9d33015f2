/**
 * berth volume upload: a file from here, or standard input, becomes a volume, or takes the place of one. It is looked at here first, so
 * that a mistake costs nothing.
 */
import type { UploadAnswer } from '@berth/proto/v1/upload.ts';
import { inspectDiskImage } from '@berth/shared/disk/inspect.ts';
import { invalidArgument, isClusterError, type ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { VOLUME_FORMATS } from '@berth/shared/model/volume.ts';
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';
import { JobState } from '@berth/proto/v1/job.ts';
import type { Api } from '../core/api.ts';
import { labels, LABEL, text, yes, type Command, type Flags } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { mayGoOn, upload } from '../core/upload.ts';
import { named } from '../image/import.ts';
import { looksLikeUrl } from '../image/source/http.ts';
import { fileSource, type ByteSource } from '../image/source/source.ts';
import { spooled } from '../image/source/spool.ts';
import { followJob } from '../job/follow.ts';
import { createLive, type Live } from '../output/live.ts';

export const volumeUpload: Command = {
  noun: 'volume',
  verb: 'upload',
  summary: 'make a volume of a disk file from this machine',
  details: `Examples:
  berth volume upload data.qcow2 data
  berth volume upload disk.vmdk disk --pool fast --as raw
  berth volume upload new.qcow2 data --overwrite
  berth volume download web-vda - --context a | berth volume upload - copy --context b
Known formats: qcow2, vmdk, vdi, vhdx, vpc, and raw with a partition table or file system; raw without either with --format raw. The bytes
come through the controller, which stores nothing; a break is gone over, and what a command that ended too early has sent is kept for an
hour: the same command goes on with it. What arrived is checked by its SHA-256. With --overwrite the volume keeps its name, labels, host
and pool, and all that it held until the new one is whole; one that a VM has must be detached first. In a pool of Ceph or LVM the volume
is raw, and the host needs room in its pool local while the file comes. Nothing takes the place of a LUN.`,
  args: [
    { name: 'file', description: 'the disk file, or - for standard input', required: true, kind: 'file' },
    { name: 'name', description: 'name of the volume', required: true },
  ],
  flags: [
    {
      spec: '--format <format>',
      description: 'of the file. raw: also one that can not be recognised; another: take nothing else',
      choices: ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'],
    },
    {
      spec: '--as <format>',
      description: 'of the volume (default qcow2; in pools of Ceph and LVM raw)',
      choices: VOLUME_FORMATS,
    },
    { spec: '--overwrite', description: 'put it in the place of a volume that no VM has' },
    { spec: '--sha256 <digest>', description: 'what the file must hash to' },
    { spec: '--host <host>', description: 'put it on this host', kind: 'host' },
    { spec: '--pool <pool>', description: 'storage pool that it lies in (default: local)', kind: 'pool' },
    LABEL,
  ],
  async run(ctx, [path = '', name = ''], flags) {
    const sha256 = digestIn(flags);
    if (looksLikeUrl(path)) throw urlGiven(path, name);
    const source = await (path === '-' ? spooled(ctx.stdin, 'standard input', ctx.signal) : fileSource(path));
    ctx.finishUnread();
    const live = createLive(ctx);
    try {
      const format = text(flags, 'format') ?? '';
      const { virtualSizeBytes } = await inspectDiskImage(source, format);
      const api = await ctx.api();
      const begun = await begin(api, { name, source, format, sizeBytes: virtualSizeBytes, flags });
      await transfer(ctx, api, live, { name, source, sha256, begun });
    } finally {
      live.end();
      await source.close();
    }
  },
};

/** It may have to be sent again after a break, hours later: from a file here, not from a server that may have another by then. */
const urlGiven = (url: string, name: string): ClusterError =>
  invalidArgument(
    `${url.slice(0, 200)} is a URL, and a volume is uploaded from a file here: fetch it first (curl -fLO URL). ` +
      `Or make it an image, which may come from a URL (berth image import URL --name NAME), and a volume of that (berth volume create ${name} --image NAME)`,
  );

function digestIn(flags: Flags): string | undefined {
  const digest = text(flags, 'sha256');
  if (digest === undefined || /^[0-9a-fA-F]{64}$/.test(digest)) return digest;
  throw invalidArgument(`--sha256 ${digest.slice(0, 80)} is no SHA-256: 64 hexadecimal digits`);
}

interface Asked {
  readonly name: string;
  readonly source: ByteSource;
  readonly format: string;
  readonly sizeBytes: number;
  readonly flags: Flags;
}

async function begin(api: Api, { name, source, format, sizeBytes, flags }: Asked): Promise<UploadAnswer> {
  const sizes = { fileBytes: BigInt(source.sizeBytes), allocatedBytes: BigInt(source.allocatedBytes) };
  const file = { ...sizes, format, sizeBytes: BigInt(sizeBytes) };
  const [host, pool, as] = [text(flags, 'host') ?? '', text(flags, 'pool') ?? '', text(flags, 'as') ?? ''];
  if (yes(flags, 'overwrite') && (await isThere(api, name))) {
    if (host !== '' || pool !== '')
      throw invalidArgument(`volume ${name} keeps its host and pool: berth volume move takes it elsewhere`);
    return api.call(api.uploads, (c) => c.replaceVolume, { volume: name, file, format: as });
  }
  const wanted = { name, file, format: as, host, pool, labels: labels(flags) };
  return api.call(api.uploads, (c) => c.uploadVolume, wanted);
}

/** One that is still being uploaded is gone on with as a new one. */
async function isThere(api: Api, volume: string): Promise<boolean> {
  try {
    return (await api.call(api.volumes, (c) => c.getVolume, { volume })).state !== 'creating';
  } catch (e) {
    if (isClusterError(e, 'NOT_FOUND')) return false;
    throw e;
  }
}

interface Transfer {
  readonly name: string;
  readonly source: ByteSource;
  readonly sha256: string | undefined;
  readonly begun: UploadAnswer;
}

async function transfer(ctx: Context, api: Api, live: Live, t: Transfer): Promise<void> {
  const { name, source, sha256 } = t;
  const { jobId, resumed } = t.begun;
  if (resumed) note(ctx, `The upload of volume ${name} goes on where it broke off.`);
  const show = (p: string): void => live.set('x', `volume ${name} ${p}`);
  const all = formatFileBytes(source.sizeBytes);
  try {
    await upload(ctx, api, { jobId, source, sha256, show: (done) => show(`${formatFileBytes(done)} of ${all}`) });
    await followJob(ctx, api, jobId, show);
  } catch (e) {
    throw await telling(ctx, api, { e, jobId, name, source });
  }
  live.end();
  const volume = await api.call(api.volumes, (c) => c.getVolume, { volume: name });
  const where = volume.pool === 'local' ? volume.host : `pool ${volume.pool} on ${volume.host}`;
  print(ctx, `volume ${name} uploaded to ${where}: ${formatBytes(Number(volume.sizeBytes))}, ${volume.format}`);
}

interface Broken {
  readonly e: unknown;
  readonly jobId: string;
  readonly name: string;
  readonly source: ByteSource;
}

/** What came is kept where the same command can go on; what is wrong here nobody can go on with. */
async function telling(ctx: Context, api: Api, { e, jobId, name, source }: Broken): Promise<unknown> {
  const keeps = ctx.signal.aborted || mayGoOn(e);
  if (keeps) {
    note(
      ctx,
      `What came of volume ${name} is kept for an hour: the same command goes on. To give it up: berth job cancel ${jobId}`,
    );
    return e;
  }
  if (isClusterError(e, 'CANCELLED')) return named(await whyOver(ctx, api, jobId, e), source.name);
  await api.call(api.jobs, (c) => c.cancelJob, { job: jobId }).catch(() => {});
  return named(e, source.name);
}

/** A stream is cut off when its job fails, and when another goes on with it. */
async function whyOver(ctx: Context, api: Api, job: string, e: ClusterError): Promise<unknown> {
  const { state } = await api.call(api.jobs, (c) => c.getJob, { job });
  if (state === JobState.RUNNING || state === JobState.WAITING) return e;
  return followJob(ctx, api, job, () => undefined).then(
    () => e,
    (why: unknown) => why,
  );
}
