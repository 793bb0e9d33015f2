/** berth vm delete. */
import { NO_WAIT, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const vmDelete: Command = {
  noun: 'vm',
  verb: 'delete',
  summary: 'remove VMs with their disks',
  args: [{ name: 'vms', description: 'VMs to remove', required: true, many: true, kind: 'vm' }],
  flags: [{ spec: '--force', description: 'also when it runs, or when its host does not answer' }, NO_WAIT],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, vm) => api.call(api.vms, (c) => c.deleteVm, { vm, force: yes(flags, 'force') }),
      done: async () => 'deleted',
    }),
};
