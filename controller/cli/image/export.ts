/** berth image export: an image as a file, here or on standard output. */
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { extname } from 'node:path';
import type { Writable } from 'node:stream';
import type { Image } from '@berth/proto/v1/image.ts';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { TAR_END, tarHeader, tarPadding } from '@berth/shared/disk/tar.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { text, yes, type Command, type Flags } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { download, type DownloadSink } from '../core/download.ts';
import { unreadable } from '../core/files.ts';
import { createLive } from '../output/live.ts';
import { imageDefaults } from './document.ts';
import { writeManifest, writeOvf } from './ovf-write.ts';

const FORMATS = ['qcow2', 'raw', 'vmdk', 'ova'];
const ZEROS = Buffer.alloc(1024 * 1024);

export const imageExport: Command = {
  noun: 'image',
  verb: 'export',
  summary: 'write an image to a file, to take it elsewhere',
  details: `Examples:
  berth image export debian debian.qcow2
  berth image export debian debian.ova            for vSphere, VirtualBox, or another Berth
  berth image export debian - --format raw | dd of=/dev/sdx bs=4M
A host that has it makes the file, its bytes come through the controller, which stores nothing; a break is gone over, and what came is
checked by its SHA-256. An OVA says memory, vCPUs, firmware and cards as the image's default spec does.`,
  args: [
    { name: 'image', description: 'the image', required: true, kind: 'image' },
    { name: 'file', description: 'where it is written; - for standard output', required: true, kind: 'file' },
  ],
  flags: [
    { spec: '--format <format>', description: 'default: by the ending of the file', choices: FORMATS },
    { spec: '--force', description: 'write over a file that is there' },
  ],
  async run(ctx, [name = '', path = ''], flags) {
    const format = formatOf(path, flags);
    const api = await ctx.api();
    const image = await api.call(api.images, (c) => c.getImage, { image: name });
    const out = path === '-' ? pipe(ctx) : await file(path, yes(flags, 'force'));
    const live = createLive(ctx);
    try {
      const wanted = { image: image.id, format: format === 'ova' ? 'vmdk' : format };
      const begun = await api.call(api.exports, (c) => c.exportImage, wanted);
      const shown = shownIn(out, (done, all) =>
        live.set('x', `image ${image.name} ${formatFileBytes(done)} of ${formatFileBytes(all)}`),
      );
      live.set('x', `image ${image.name} is made ready`);
      try {
        await download(ctx, api, begun, format === 'ova' ? inOva(shown, image, ctx.clock.now()) : shown);
      } catch (e) {
        await api.call(api.jobs, (c) => c.cancelJob, { job: begun.jobId }).catch(() => {});
        throw e;
      }
      await out.end();
    } catch (e) {
      await out.drop();
      throw e;
    } finally {
      live.end();
    }
    const said = `image ${image.name} exported to ${path}: ${formatFileBytes(out.bytes())}, ${format}`;
    if (path === '-') note(ctx, said);
    else print(ctx, said);
  },
};

function formatOf(path: string, flags: Flags): string {
  const said = text(flags, 'format');
  const ending = extname(path).slice(1).toLowerCase();
  const found = said ?? { img: 'raw', qcow: 'qcow2' }[ending] ?? ending;
  if (FORMATS.includes(found)) return found;
  throw invalidArgument(`which format shall ${path} have? Say --format ${FORMATS.join(', ')}`);
}

interface Out extends DownloadSink {
  /** Whole. */
  end(): Promise<void>;
  /** Leaves nothing. */
  drop(): Promise<void>;
  bytes(): number;
}

/** Under another name until it is whole; runs of zeros become holes. */
async function file(path: string, force: boolean): Promise<Out> {
  const half = `${path}.part`;
  if (!force) {
    const there = await open(path, 'r').catch(() => undefined);
    await there?.close();
    if (there) throw invalidArgument(`${path} exists already. To write over it: --force`);
  }
  const handle: FileHandle = await open(half, 'w').catch((e: Error) => {
    throw unreadable(half, e);
  });
  let at = 0;
  return {
    begin: async () => undefined,
    async write(piece: Piece) {
      if (typeof piece !== 'number')
        for (let done = 0; done < piece.length;)
          done += (await handle.write(piece, done, piece.length - done, at + done)).bytesWritten;
      at += lengthOf(piece);
    },
    async end() {
      await handle.truncate(at);
      await handle.sync();
      await handle.close();
      await rename(half, path);
    },
    async drop() {
      await handle.close().catch(() => undefined);
      await rm(half, { force: true });
    },
    bytes: () => at,
  };
}

function pipe({ stdout }: Context): Out {
  let at = 0;
  const write = async (bytes: Uint8Array): Promise<void> => {
    if (!(stdout as Writable).write(bytes)) await once(stdout, 'drain');
  };
  return {
    begin: async () => undefined,
    async write(piece) {
      if (typeof piece !== 'number') await write(piece);
      else
        for (let left = piece; left > 0; left -= ZEROS.length)
          await write(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
      at += lengthOf(piece);
    },
    end: async () => undefined,
    drop: async () => undefined,
    bytes: () => at,
  };
}

/** Tells how far it is. */
function shownIn(out: Out, show: (doneBytes: number, allBytes: number) => void): DownloadSink {
  let all = 0;
  return {
    async begin(about) {
      all = about.fileBytes;
      await out.begin(about);
    },
    async write(piece) {
      await out.write(piece);
      show(out.bytes(), Math.max(all, out.bytes()));
    },
  };
}

/** The disk in a tar archive, behind what describes it. */
function inOva(out: DownloadSink, image: Image, nowMs: number): DownloadSink {
  const name = image.name.replace(/[^A-Za-z0-9.-]/g, '-');
  let left = 0;
  let padding: Buffer = Buffer.alloc(0);
  const member = async (file: string, bytes: Buffer): Promise<void> => {
    await out.write(Buffer.concat([tarHeader(file, bytes.length, nowMs), bytes, tarPadding(bytes.length)]));
  };
  return {
    async begin(about) {
      await out.begin(about);
      const disk = `${name}-disk1.vmdk`;
      const ovf = Buffer.from(writeOvf({ ...about, name, file: disk, defaults: imageDefaults(image) }));
      const sums = [
        { file: `${name}.ovf`, sha256: createHash('sha256').update(ovf).digest('hex') },
        { file: disk, sha256: about.sha256 },
      ];
      await member(`${name}.ovf`, ovf);
      await member(`${name}.mf`, Buffer.from(writeManifest(sums)));
      await out.write(tarHeader(disk, about.fileBytes, nowMs));
      left = about.fileBytes;
      padding = tarPadding(about.fileBytes);
    },
    async write(piece) {
      await out.write(piece);
      left -= lengthOf(piece);
      if (left === 0) await out.write(Buffer.concat([padding, TAR_END]));
    },
  };
}
