/** berth vm list. */
import type { FoundVm } from '@berth/proto/v1/vm.ts';
import { OUTPUT, SELECTOR, text, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { nothingWords } from '../core/nothing.ts';
import { allPages } from '../core/pages.ts';
import { forPeople, remark, renderList } from '../output/render.ts';
import { foundNote, foundView, vmColumns, vmView, type VmView } from './view.ts';

/** Why it is as it is, or that it will be other. */
const noteOn = (v: VmView): string =>
  v.stateReason ||
  (v.pending.length > 0 ? `changes at its next start: ${v.pending.map((p) => p.field).join(', ')}` : '');

export const vmList: Command = {
  noun: 'vm',
  verb: 'list',
  summary: 'list VMs',
  args: [],
  flags: [OUTPUT, SELECTOR, { spec: '--host <host>', description: 'only those on this host', kind: 'host' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const found: FoundVm[] = [];
    const known = await allPages(async (page) => {
      const r = await api.call(api.vms, (c) => c.listVms, {
        ...{ page, host: text(flags, 'host') ?? '' },
        selector: text(flags, 'selector'),
      });
      found.push(...r.found);
      return { items: r.vms.map(vmView), next: r.nextPageToken };
    });
    // for people only: what a program does with a VM is refused for one that the inventory does not know
    const rows = forPeople(flags) ? [...known, ...found.map(foundView)] : known;
    const columns = [...vmColumns(ctx.clock.now()), ...remark(rows, noteOn)];
    renderList(ctx, flags, {
      rows,
      columns,
      name: (v) => v.name,
      empty: await nothingWords(api, {
        ...{ what: 'VMs', advice: 'Make one with: berth vm clone IMAGE NAME' },
        ...{ rows, flags },
      }),
    });
    if (found.length > 0 && forPeople(flags)) note(ctx, foundNote(found));
  },
};
