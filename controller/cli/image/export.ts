/** berth image export: an image as a file, here or on standard output. */
import { createHash } from 'node:crypto';
import type { Image } from '@berth/proto/v1/image.ts';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { TAR_END, tarHeader, tarPadding } from '@berth/shared/disk/tar.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import { yes, type Command } from '../core/command.ts';
import type { DownloadSink } from '../core/download.ts';
import { toFile, toPipe } from '../core/download-file.ts';
import { fetchFile, formatOf, sayFetched } from '../core/fetch-file.ts';
import { imageDefaults } from './document.ts';
import { writeManifest, writeOvf } from './ovf-write.ts';

const FORMATS = ['qcow2', 'raw', 'vmdk', 'ova'];

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
    const format = formatOf(path, flags, FORMATS);
    const api = await ctx.api();
    const image = await api.call(api.images, (c) => c.getImage, { image: name });
    const out = path === '-' ? toPipe(ctx) : await toFile(path, yes(flags, 'force'));
    const ova = format === 'ova';
    const wanted = { image: image.id, format: ova ? 'vmdk' : format };
    await fetchFile(ctx, {
      ...{ what: `image ${image.name}`, out, keep: false },
      begin: () => api.call(api.exports, (c) => c.exportImage, wanted),
      through: (sink) => (ova ? inOva(sink, image, ctx.clock.now()) : sink),
    });
    sayFetched(ctx, path, `image ${image.name} exported to ${path}: ${formatFileBytes(out.bytes())}, ${format}`);
  },
};

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
