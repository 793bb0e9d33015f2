/** berth vm clone: many VMs from one image, each on the host that the scheduler chose. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { CloneVmRequest } from '@berth/proto/v1/vm.ts';
import {
  bytes,
  count,
  labels,
  LABEL,
  list,
  NO_WAIT,
  RUN_POLICY,
  text,
  yes,
  type Command,
  type Flags,
} from '../core/command.ts';
import { print } from '../core/context.ts';
import { ALLOW_TAKEN_IP } from './definition-flags.ts';
import { runMany } from '../job/many.ts';
import { cloneSource, SOURCE_FLAGS } from './clone-images.ts';
import { unlessThere } from './there.ts';
import { readText } from '../core/files.ts';

export const vmClone: Command = {
  noun: 'vm',
  verb: 'clone',
  summary: 'make VMs from an image, or from a VM',
  details: `Examples:
  berth vm clone base web db
  berth vm clone base web-{01..20} --memory 2GiB --vcpus 2
  berth vm clone base big --disk-size 20GiB --host h2 --ip 10.0.0.5/24 --gateway 10.0.0.1
  berth vm clone web web2 web3                  web is a VM: its disks are captured once, then cloned`,
  args: [
    { name: 'image', description: 'image to clone, or VM', required: true, kind: 'image' },
    { name: 'names', description: 'names of the new VMs', required: true, many: true },
  ],
  flags: [
    { spec: '--disk-size <size>', description: "size of the disk, at least the image's (20GiB)" },
    { spec: '--memory <size>', description: 'memory (default 512MiB)' },
    { spec: '--vcpus <n>', description: 'virtual CPUs (default 1)' },
    { spec: '--host <host>', description: 'put them on this host', kind: 'host' },
    { spec: '--bridge <name>', description: 'bridge of the network card (default br0)' },
    { spec: '--mac <mac>', description: 'MAC address; only with one name' },
    { spec: '--ip <cidr>', description: 'address given to the guest, 10.0.0.5/24; only with one name' },
    ALLOW_TAKEN_IP,
    { spec: '--gateway <ip>', description: 'default gateway given to the guest' },
    { spec: '--dns <ip>', description: 'name server given to the guest', many: true },
    { spec: '--ssh-key <file>', description: 'public key that may log in', kind: 'file', many: true },
    { spec: '--user-data <file>', description: 'cloud-init user-data for the guest', kind: 'file' },
    RUN_POLICY,
    LABEL,
    { spec: '--start', description: 'start them when they are made' },
    { spec: '--dry-run', description: 'only say where they would go' },
    ...SOURCE_FLAGS,
    NO_WAIT,
  ],
  async run(ctx, [said = '', ...all], flags) {
    if (all.length > 1 && (text(flags, 'mac') || text(flags, 'ip')))
      throw invalidArgument('--mac and --ip belong to one VM; give one name');
    cloneRequest(said, flags); // before anything is captured
    const { image, names } = await cloneSource(ctx, said, all, flags);
    if (image === undefined) return;
    const request = cloneRequest(image, flags);
    if (yes(flags, 'dryRun')) {
      const api = await ctx.api();
      for (const name of names) {
        const { vm } = await api.call(api.vms, (c) => c.cloneVm, { ...request, name, dryRun: true });
        print(
          ctx,
          `vm ${name} would go to ${vm?.host}, disk ${formatBytes(Number(vm?.spec?.disks[0]?.sizeBytes ?? 0n))}`,
        );
      }
      return;
    }
    await runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, name) =>
        unlessThere(api, names, { name, image }, () => api.call(api.vms, (c) => c.cloneVm, { ...request, name })),
      done: async (api, name, job, follow) => {
        const { host } = await api.call(api.vms, (c) => c.getVm, { vm: name });
        const made = job ? `created on ${host}` : `is on ${host} already`;
        if (!yes(flags, 'start')) return made;
        const { jobId } = await api.call(api.vms, (c) => c.startVm, { vm: name });
        const followed = await follow(jobId);
        // a new one may run already: the controller starts it too
        return followed || job ? `${made}, started` : `${made}, runs`;
      },
      advice: 'Finish the rest with the same command; what exists is left alone.',
    });
  },
};

function cloneRequest(image: string, flags: Flags): CloneVmRequest {
  return {
    image,
    name: '',
    diskSizeBytes: bytes(flags, 'diskSize', '--disk-size'),
    memoryBytes: bytes(flags, 'memory', '--memory'),
    vcpus: count(flags, 'vcpus', 0),
    host: text(flags, 'host') ?? '',
    bridge: text(flags, 'bridge') ?? '',
    mac: text(flags, 'mac') ?? '',
    address: text(flags, 'ip') ?? '',
    gateway: text(flags, 'gateway') ?? '',
    dns: [...list(flags, 'dns')],
    sshKeys: list(flags, 'sshKey').map((f) => readText(f).trim()),
    userData: readText(text(flags, 'userData')),
    labels: labels(flags),
    runPolicy: text(flags, 'runPolicy'),
    dryRun: false,
    start: yes(flags, 'start'),
    ...(yes(flags, 'allowTakenIp') && { allowTakenAddress: true }),
  };
}
