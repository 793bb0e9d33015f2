/** berth volume move. */
import { NO_WAIT, text, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const volumeMove: Command = {
  noun: 'volume',
  verb: 'move',
  summary:
    'move volumes to another storage pool, of a VM that runs while its guest writes; to another host; or off their image',
  details: `There must be room for it in both pools until it has moved. What it is based on is copied there first, where that is needed. Cancelled
(berth job cancel), it stays where it was. In a pool that holds no files (LVM, Ceph) it is raw, rests on no image,
and stays so when it comes back. Examples:
  berth volume move web-vda --pool fast
  berth volume move data --host h2
  berth volume move data --host h2 --full
  berth volume move data --pool fast --full
  berth volume move data --full
  berth volume move data --pool local
--full copies what is in its image into it, so that it needs no copy of that any more: on the way, or, where neither pool nor host is
named, where it lies. A VM that it is a disk of may run while it goes to another pool, and is off where it stays. Of one that nobody
uses, its host needs room in its pool local meanwhile.
What breaks off on the way to another host goes on where it was.
A disk of a VM lies on the host of that: only volumes that stand alone go to other hosts.`,
  args: [{ name: 'volumes', description: 'which: names, or VM-TARGET', required: true, many: true, kind: 'volume' }],
  flags: [
    { spec: '--pool <pool>', description: 'the pool to move them to (default with --host: local)', kind: 'pool' },
    { spec: '--host <host>', description: 'the host to move them to', kind: 'host' },
    { spec: '--full', description: 'it needs its image no more afterwards' },
    NO_WAIT,
  ],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      ...{ noun: 'volume', names, wait: flags['wait'] !== false },
      start: (api, volume) =>
        api.call(api.volumes, (c) => c.moveVolume, {
          ...{ volume, pool: text(flags, 'pool') ?? '', host: text(flags, 'host') ?? '', full: flags['full'] === true },
        }),
      done: async (api, volume, job) => {
        const { host, pool } = await api.call(api.volumes, (c) => c.getVolume, { volume });
        const own = flags['full'] === true ? ', and rests on no image' : '';
        return `is in pool ${pool} on ${host}${job ? '' : ' already'}${own}`;
      },
    }),
};
