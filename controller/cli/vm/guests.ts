/** berth vm guests: what --os-variant can be. */
import type { GuestSystem } from '@berth/proto/v1/vm.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { renderList } from '../output/render.ts';

export const vmGuests: Command = {
  noun: 'vm',
  verb: 'guests',
  summary: 'list the guest systems that --os-variant knows',
  details: 'More are known when the package osinfo-db is installed on the machine of the controller.',
  args: [{ name: 'text', description: 'only those with this in their name or title', required: false }],
  flags: [OUTPUT],
  async run(ctx, [wanted = ''], flags) {
    const api = await ctx.api();
    const { guests } = await api.call(api.vms, (c) => c.listGuestSystems, {});
    const word = wanted.toLowerCase();
    renderList<GuestSystem>(ctx, flags, {
      rows: guests.filter((g) => `${g.name} ${g.title}`.toLowerCase().includes(word)),
      columns: [
        { title: 'NAME', cell: (g) => g.name },
        { title: 'GUEST', cell: (g) => g.title },
        { title: 'DEVICES OF', cell: (g) => g.family },
      ],
      name: (g) => g.name,
      empty: `no guest has ${wanted} in its name. generic and linux fit many`,
    });
  },
};
