/** berth vm create: a VM with a blank disk. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseBytes } from '@berth/shared/units/bytes.ts';
import { labels, LABEL, NO_WAIT, text, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/follow.ts';
import { vcpus } from './clone.ts';

export const vmCreate: Command = {
  noun: 'vm',
  verb: 'create',
  summary: 'make VMs with a blank disk',
  args: [{ name: 'names', description: 'names of the new VMs', required: true, many: true }],
  flags: [
    { spec: '--disk <size>', description: 'size of the disk (20GiB)' },
    { spec: '--memory <size>', description: 'memory (default 512MiB)' },
    { spec: '--vcpus <n>', description: 'virtual CPUs (default 1)' },
    { spec: '--host <host>', description: 'put them on this host', kind: 'host' },
    { spec: '--bridge <name>', description: 'bridge of the network card (default br0)' },
    { spec: '--mac <mac>', description: 'MAC address; only with one name' },
    LABEL,
    { spec: '--dry-run', description: 'only check, and say where they would go' },
    NO_WAIT,
  ],
  async run(ctx, names, flags) {
    if (names.length > 1 && text(flags, 'mac')) throw invalidArgument('--mac belongs to one VM; give one name');
    const disk = text(flags, 'disk');
    if (disk === undefined)
      throw invalidArgument('how large is the disk to be? Say --disk SIZE, for example --disk 20GiB');
    await runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, name) =>
        api.call(api.vms, (c) => c.createVm, {
          name,
          diskSizeBytes: BigInt(parseBytes(disk)),
          memoryBytes: BigInt(parseBytes(text(flags, 'memory') ?? '0')),
          vcpus: vcpus(flags),
          host: text(flags, 'host') ?? '',
          bridge: text(flags, 'bridge') ?? '',
          mac: text(flags, 'mac') ?? '',
          labels: labels(flags, invalidArgument),
          dryRun: yes(flags, 'dryRun'),
        }),
      done: async (api, name) =>
        yes(flags, 'dryRun')
          ? 'would fit'
          : `created on ${(await api.call(api.vms, (c) => c.getVm, { vm: name })).host}`,
      advice: 'Finish the rest with the same command; what exists is left alone.',
    });
  },
};
