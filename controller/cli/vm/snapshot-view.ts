/** berth vm snapshot list, show. */
import type { Snapshot } from '@berth/proto/v1/snapshot.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { fields, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { VM } from './snapshot.ts';

const has = (s: Snapshot): string => (s.memory ? 'disks, memory' : 'disks');
const age = (s: Snapshot, nowMs: number): string => formatAge(nowMs - Number(s.createdAtMs));

const columns = (nowMs: number): Column<Snapshot>[] => [
  { title: 'NAME', cell: (s) => (s.current ? `${s.name} *` : s.name) },
  { title: 'STATE', cell: (s) => s.state },
  { title: 'HAS', cell: has },
  { title: 'AFTER', cell: (s) => s.parent },
  { title: 'AGE', cell: (s) => age(s, nowMs), right: true },
  { title: 'DISKS', cell: (s) => s.disks.join(', '), wide: true },
  { title: 'CONSISTENCY', cell: (s) => (s.byHand ? 'made by hand' : s.consistency), wide: true },
  { title: 'DESCRIPTION', cell: (s) => s.description, spare: 1 },
];

export const snapshotList: Command = {
  ...{ noun: 'vm', group: 'snapshot', verb: 'list' },
  summary: 'list the snapshots of a VM, oldest first; * is the one that its disks went on from',
  args: [VM],
  flags: [OUTPUT],
  async run(ctx, [vm = ''], flags) {
    const api = await ctx.api();
    const { snapshots } = await api.call(api.snapshots, (c) => c.listSnapshots, { vm });
    renderList(ctx, flags, {
      rows: snapshots,
      columns: columns(ctx.clock.now()),
      name: (s) => s.name,
      empty: `vm ${vm} has no snapshots. Make one with: berth vm snapshot create ${vm} NAME`,
    });
  },
};

export const snapshotShow: Command = {
  ...{ noun: 'vm', group: 'snapshot', verb: 'show' },
  summary: 'show snapshots of a VM in full',
  args: [VM, { name: 'snapshots', description: 'their names', required: true, many: true, kind: 'snapshot' }],
  flags: [OUTPUT],
  async run(ctx, [vm = '', ...names], flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names,
      get: (snapshot) => api.call(api.snapshots, (c) => c.getSnapshot, { vm, snapshot }),
      name: (s) => s.name,
      lines: (s) => lines(s, ctx.clock.now()),
    });
  },
};

const lines = (s: Snapshot, nowMs: number): string[] => [
  ...fields([
    ['name', s.name],
    ['vm', s.vm],
    ['description', s.description],
    ['state', s.state === 'missing' ? 'missing: its host does not have it any more' : s.state],
    ['has', `${has(s)} (${s.disks.join(', ')})`],
    ['consistency', s.byHand ? 'not known: it was made by hand' : s.consistency],
    ['after a revert', s.power === 'stopped' ? 'the VM is off' : `the VM is ${s.power}`],
    ['came after', s.parent],
    ['current', s.current ? 'its disks went on from it' : ''],
    ['age', age(s, nowMs)],
  ]),
  ...(s.differences.length === 0 ? [] : ['changed since, and not taken back by a revert:']),
  ...s.differences.map((d) => `  ${d}`),
];
