/** berth vm adopt. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { text, yes, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { runMany } from '../job/many.ts';

export const vmAdopt: Command = {
  noun: 'vm',
  verb: 'adopt',
  summary: 'take VMs into the inventory that were found on hosts',
  details: `After a restore of the controller, hosts may have VMs that the inventory does not know: berth vm list shows them as found.
Their CPUs, memory, disks and network cards are read from the host. Labels, run policy, SSH keys and addresses are not kept
there: set them anew.`,
  args: [{ name: 'vms', description: 'VMs to adopt, by name or id', required: false, many: true }],
  flags: [
    { spec: '--all', description: 'all that were found' },
    { spec: '--host <host>', description: 'only from this host', kind: 'host' },
    { spec: '--force', description: 'also when it was changed on its host since Berth made it' },
  ],
  async run(ctx, given, flags) {
    const host = text(flags, 'host') ?? '';
    if (yes(flags, 'all') === given.length > 0)
      throw invalidArgument('which VMs? Name them, or give --all (but not both)');
    const api = await ctx.api();
    const { found } = yes(flags, 'all')
      ? await api.call(api.vms, (c) => c.listVms, { page: { pageSize: 1, pageToken: '' }, host })
      : { found: [] };
    const names = given.length > 0 ? given : found.filter((f) => f.detail === '').map((f) => f.id);
    if (names.length === 0) return note(ctx, 'no VM was found that the inventory does not know');
    await runMany(ctx, {
      noun: 'vm',
      names,
      wait: true,
      start: async (a, vm) => (
        await a.call(a.vms, (c) => c.adoptVm, { vm, host, force: yes(flags, 'force') }),
        { jobId: '' }
      ),
      done: async (a, vm) => `adopted on ${(await a.call(a.vms, (c) => c.getVm, { vm })).host}`,
    });
  },
};
