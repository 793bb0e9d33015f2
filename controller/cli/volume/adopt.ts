/** berth volume adopt. */
import { text, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const volumeAdopt: Command = {
  noun: 'volume',
  verb: 'adopt',
  summary: 'take a volume into the inventory that was found on a host',
  details: `After a restore of the controller, hosts may have volumes that the inventory does not know: berth host review shows them.`,
  args: [{ name: 'volume', description: 'its id, as shown', required: true }],
  flags: [{ spec: '--name <name>', description: 'what it shall be called (default: found-…)' }],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      ...{ noun: 'volume', names, wait: true },
      start: async (api, volume) => (
        await api.call(api.volumes, (c) => c.adoptVolume, { volume, name: text(flags, 'name') ?? '' }),
        { jobId: '' }
      ),
      done: async () => 'adopted',
    }),
};
