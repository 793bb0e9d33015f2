/** berth vm delete. By names or labels; there is no --all: it would take one word to lose every disk. */
import { NO_WAIT, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { BY_LABELS, chosen, someVms } from './choose.ts';

export const vmDelete: Command = {
  noun: 'vm',
  verb: 'delete',
  summary: 'remove VMs with their disks',
  args: [someVms('VMs to remove')],
  flags: [{ spec: '--force', description: 'also when it runs, or when its host does not answer' }, BY_LABELS, NO_WAIT],
  async run(ctx, names, flags) {
    const vms = await chosen(ctx, 'delete', names, flags);
    if (vms.length === 0) return;
    await runMany(ctx, {
      noun: 'vm',
      names: vms,
      wait: flags['wait'] !== false,
      start: (api, vm) => api.call(api.vms, (c) => c.deleteVm, { vm, force: yes(flags, 'force') }),
      done: async () => 'deleted',
    });
  },
};
