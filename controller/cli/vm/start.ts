/** berth vm start. */
import { NO_WAIT, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const vmStart: Command = {
  noun: 'vm',
  verb: 'start',
  summary: 'start VMs',
  args: [{ name: 'vms', description: 'VMs to start', required: true, many: true, kind: 'vm' }],
  flags: [NO_WAIT],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, vm) => api.call(api.vms, (c) => c.startVm, { vm }),
      done: async (api, vm, job) => {
        const { host } = await api.call(api.vms, (c) => c.getVm, { vm });
        return job ? `started on ${host}` : `runs on ${host} already`;
      },
    }),
};
