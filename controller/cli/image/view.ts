/** berth image list, show. */
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Image } from '@berth/proto/v1/image.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { allPages } from '../core/pages.ts';
import { imageStateWord, shortDigest } from '../core/words.ts';
import { fields, remark, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

interface ImageView extends Omit<Image, 'state'> {
  readonly state: string;
}
const imageView = (i: Image): ImageView => ({ ...i, state: imageStateWord(i.state) });

/** An image may be on hundreds; `berth image show` names them all. */
const someHosts = (hosts: readonly string[]): string =>
  hosts.length > 4 ? `${hosts.slice(0, 3).join(',')} and ${hosts.length - 3} more` : hosts.join(',');

const columns = (nowMs: number): Column<ImageView>[] => [
  { title: 'NAME', cell: (i) => i.name },
  { title: 'STATE', cell: (i) => i.state },
  { title: 'KIND', cell: (i) => (i.medium ? 'CD-ROM' : 'disk'), wide: true },
  { title: 'SIZE', cell: (i) => (i.virtualSizeBytes ? formatBytes(Number(i.virtualSizeBytes)) : ''), right: true },
  { title: 'VMS', cell: (i) => String(i.vmCount), right: true },
  { title: 'COPIES', cell: (i) => someHosts(i.copies.map((c) => c.host)) },
  { title: 'DIGEST', cell: (i) => shortDigest(i.digest), spare: 1 },
  { title: 'AGE', cell: (i) => formatAge(nowMs - Number(i.createdAtMs)) },
];

export const imageList: Command = {
  noun: 'image',
  verb: 'list',
  summary: 'list images and where copies are',
  args: [],
  flags: [OUTPUT],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const rows = await allPages(async (page) => {
      const r = await api.call(api.images, (c) => c.listImages, { page });
      return { items: r.images.map(imageView), next: r.nextPageToken };
    });
    renderList(ctx, flags, {
      rows,
      columns: [...columns(ctx.clock.now()), ...remark(rows, (i) => (i.medium ? 'CD-ROM' : ''))],
      name: (i) => i.name,
      empty: 'no images yet. Bring one in with: berth image import FILE',
    });
  },
};

export const imageShow: Command = {
  noun: 'image',
  verb: 'show',
  summary: 'show images in full',
  args: [{ name: 'images', description: 'images to show', required: true, many: true, kind: 'image' }],
  flags: [OUTPUT],
  async run(ctx, names, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: async (image) => imageView(await api.call(api.images, (c) => c.getImage, { image })),
      name: (i) => i.name,
      lines: (i) => lines(i, ctx.clock.now()),
    });
  },
};

const lines = (i: ImageView, nowMs: number): string[] =>
  fields([
    ['name', i.name],
    ['id', i.id],
    ['state', i.state],
    ['kind', i.medium ? `CD-ROM: berth vm create NAME --cdrom ${i.name} --disk 20GiB` : 'disk'],
    ['size', formatBytes(Number(i.virtualSizeBytes))],
    ['digest', i.digest],
    ['source', i.sourceDigest ? `sha256:${i.sourceDigest} (the uploaded file)` : ''],
    ...i.copies.map((c): [string, string] => [`copy on ${c.host}`, `${formatFileBytes(Number(c.fileBytes))} on disk`]),
    ['vms', String(i.vmCount)],
    ['age', formatAge(nowMs - Number(i.createdAtMs))],
    ['job', i.jobId],
  ]);
