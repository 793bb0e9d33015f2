/** berth image adopt. */
import { text, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const imageAdopt: Command = {
  noun: 'image',
  verb: 'adopt',
  summary: 'take an image into the inventory that was found on hosts',
  details: `After a restore of the controller, hosts may have images that the inventory does not know: berth host review shows them.
Hosts know images by what is in them, not by name.`,
  args: [{ name: 'image', description: 'its digest, or found-… as shown', required: true }],
  flags: [{ spec: '--name <name>', description: 'what it shall be called (default: found-…)' }],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      noun: 'image',
      names,
      wait: true,
      start: async (api, image) => (
        await api.call(api.images, (c) => c.adoptImage, { image, name: text(flags, 'name') ?? '' }),
        { jobId: '' }
      ),
      done: async () => 'adopted',
    }),
};
