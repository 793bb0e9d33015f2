/** berth image tag, untag: other names for versions of an image. */
import { familyOf, splitImageName } from '@berth/shared/model/image-name.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Command } from '../core/command.ts';
import { print } from '../core/context.ts';

export const imageTag: Command = {
  noun: 'image',
  verb: 'tag',
  summary: 'give a version of an image other names, which move',
  details: `Examples:
  berth image tag debian:12.3 stable
  berth image tag debian:12.3 debian:latest
An image's name alone means its newest version, unless the tag latest says which. VMs keep what they were made from.`,
  args: [
    { name: 'image', description: 'the version', required: true, kind: 'image' },
    { name: 'tags', description: 'what it shall be called too: stable, or debian:stable', required: true, many: true },
  ],
  flags: [],
  async run(ctx, [image = '', ...tags]) {
    const api = await ctx.api();
    const after = await api.call(api.images, (c) => c.tagImage, { image, tags, removeTags: [] });
    const names = tags.map((t) => (t.includes(':') ? t : `${familyOf(after.name)}:${t}`));
    print(ctx, `${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} image ${after.name} now`);
  },
};

export const imageUntag: Command = {
  noun: 'image',
  verb: 'untag',
  summary: 'take such names away again; the version stays',
  args: [{ name: 'tags', description: 'names to take away: debian:stable', required: true, many: true, kind: 'image' }],
  flags: [],
  async run(ctx, names) {
    const wrong = names.find((n) => splitImageName(n).version === '');
    if (wrong !== undefined) throw invalidArgument(`${wrong} is no tag: a tag looks like debian:stable`);
    const api = await ctx.api();
    for (const image of names) {
      const removeTags = [splitImageName(image).version];
      const after = await api.call(api.images, (c) => c.tagImage, { image, tags: [], removeTags });
      print(ctx, `${image} is no name of image ${after.name} any more`);
    }
  },
};
