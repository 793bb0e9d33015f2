/** berth image list, show. */
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Image } from '@berth/proto/v1/image.ts';
import { OUTPUT, yes, type Command } from '../core/command.ts';
import { allPages } from '../core/pages.ts';
import { imageStateWord, shortDigest } from '../core/words.ts';
import { imageDocument, imageSpecForm, type ImageView } from './document.ts';
import { fields, remark, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const imageView = (i: Image): ImageView => ({ ...i, state: imageStateWord(i.state) });

/** An image may be on hundreds; `berth image show` names them all. */
const someHosts = (hosts: readonly string[]): string =>
  hosts.length > 4 ? `${hosts.slice(0, 3).join(',')} and ${hosts.length - 3} more` : hosts.join(',');

const columns = (nowMs: number): Column<ImageView>[] => [
  { title: 'NAME', cell: (i) => i.name },
  { title: 'STATE', cell: (i) => i.state },
  { title: 'TAGS', cell: (i) => i.tags.join(','), wide: true },
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
  flags: [OUTPUT, { spec: '-a, --all', description: 'those that were made to clone VMs, too' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const rows = await allPages(async (page) => {
      const r = await api.call(api.images, (c) => c.listImages, { page, ...(yes(flags, 'all') && { hidden: true }) });
      return { items: r.images.map(imageView), next: r.nextPageToken };
    });
    renderList(ctx, flags, {
      rows,
      columns: [...columns(ctx.clock.now()), ...remark(rows, remarkOf)],
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
    const get = (image: string): Promise<Image> => api.call(api.images, (c) => c.getImage, { image });
    await renderEach(ctx, flags, {
      names,
      get: async (image) => imageView(await get(image)),
      name: (i) => i.name,
      document: imageDocument,
      lines: (i) => lines(i, ctx.clock.now()),
    });
  },
};

/** Of those whose name does not say all. */
const remarkOf = (i: ImageView): string =>
  [i.medium ? 'CD-ROM' : '', i.tags.join(', '), i.hidden ? i.origin : ''].filter((w) => w !== '').join('; ');

const lines = (i: ImageView, nowMs: number): string[] =>
  fields([
    ['name', i.name],
    ['id', i.id],
    ['tags', i.tags.join(', ')],
    ['state', i.state],
    ['kind', i.medium ? `CD-ROM: berth vm create NAME --cdrom ${i.name} --disk 20GiB` : 'disk'],
    ['size', formatBytes(Number(i.virtualSizeBytes))],
    ['digest', i.digest],
    ['source', i.sourceDigest ? `sha256:${i.sourceDigest} (the uploaded file)` : ''],
    ...i.copies.map((c): [string, string] => [`copy on ${c.host}`, `${formatFileBytes(Number(c.fileBytes))} on disk`]),
    ['from', i.origin],
    ['vms', String(i.vmCount)],
    ['vms get', defaultsLine(i)],
    ['copies kept', i.keepCopies > 1 ? `at least ${i.keepCopies}` : ''],
    ['age', formatAge(nowMs - Number(i.createdAtMs))],
    ['job', i.jobId],
  ]);

/** `memory 1GiB, vcpus 2`; what has parts is told in the document. */
const defaultsLine = (i: ImageView): string =>
  Object.entries(imageSpecForm(i))
    .map(([k, v]) => (typeof v === 'object' ? `${k} …` : `${k} ${String(v)}`))
    .join(', ');
