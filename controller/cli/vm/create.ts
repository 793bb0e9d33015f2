/** berth vm create: a VM with a blank disk. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { bytes, count, labels, LABEL, NO_WAIT, RUN_POLICY, text, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';
import { unlessThere } from './there.ts';

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
    RUN_POLICY,
    LABEL,
    { spec: '--dry-run', description: 'only check, and say where they would go' },
    NO_WAIT,
  ],
  async run(ctx, names, flags) {
    if (names.length > 1 && text(flags, 'mac')) throw invalidArgument('--mac belongs to one VM; give one name');
    if (text(flags, 'disk') === undefined)
      throw invalidArgument('how large is the disk to be? Say --disk SIZE, for example --disk 20GiB');
    const request = {
      diskSizeBytes: bytes(flags, 'disk', '--disk'),
      memoryBytes: bytes(flags, 'memory', '--memory'),
      vcpus: count(flags, 'vcpus', 0),
      host: text(flags, 'host') ?? '',
      bridge: text(flags, 'bridge') ?? '',
      mac: text(flags, 'mac') ?? '',
      labels: labels(flags),
      runPolicy: text(flags, 'runPolicy'),
      dryRun: yes(flags, 'dryRun'),
    };
    await runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, name) =>
        unlessThere(api, names, { name, image: '' }, () => api.call(api.vms, (c) => c.createVm, { ...request, name })),
      done: async (api, name, job) => {
        if (request.dryRun) return 'would fit';
        const { host } = await api.call(api.vms, (c) => c.getVm, { vm: name });
        return job ? `created on ${host}` : `is on ${host} already`;
      },
      advice: 'Finish the rest with the same command; what exists is left alone.',
    });
  },
};
