/** berth image delete. */
import { NO_WAIT, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const imageDelete: Command = {
  noun: 'image',
  verb: 'delete',
  summary: 'remove images that no VM needs, with all copies',
  args: [{ name: 'images', description: 'images to remove', required: true, many: true, kind: 'image' }],
  flags: [NO_WAIT],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      noun: 'image',
      names,
      wait: flags['wait'] !== false,
      start: (api, image) => api.call(api.images, (c) => c.deleteImage, { image }),
      done: async () => 'deleted',
    }),
};
