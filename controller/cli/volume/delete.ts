/** berth volume delete. */
import { NO_WAIT, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const volumeDelete: Command = {
  noun: 'volume',
  verb: 'delete',
  summary: 'remove volumes that no VM has, with all that is in them',
  args: [{ name: 'volumes', description: 'volumes to remove', required: true, many: true, kind: 'volume' }],
  flags: [NO_WAIT],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      ...{ noun: 'volume', names, wait: flags['wait'] !== false },
      start: (api, volume) => api.call(api.volumes, (c) => c.deleteVolume, { volume }),
      done: async () => 'deleted',
    }),
};
