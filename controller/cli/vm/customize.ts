/** berth vm customize: the guests of stopped VMs are changed from outside, in their disks. */
import { CustomizeVmRequest } from '@berth/proto/v1/customize.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { sshKeyLines } from '@berth/shared/trust/ssh-key.ts';
import type { Job } from '@berth/proto/v1/job.ts';
import { list, text, yes, NO_WAIT, type Command, type Flags } from '../core/command.ts';
import { readText } from '../core/files.ts';
import { ALLOW_TAKEN_IP } from './definition-flags.ts';
import { runMany } from '../job/many.ts';
import { CHOICE, chosen, someVms } from './choose.ts';

export const vmCustomize: Command = {
  noun: 'vm',
  verb: 'customize',
  summary: 'change the guests of stopped VMs in their disks, without a login and without cloud-init',
  details: `All of it or nothing is done. Linux guests, on hosts that have guestfish; it takes a few seconds, and up to a minute where guests
are emulated. Addresses are set up with what the guest has for it: netplan, ifupdown, ifcfg files, NetworkManager, systemd-networkd.

Examples:
  berth vm customize web --serial-login
  berth vm customize web --hostname web --ip 10.0.0.5/24 --gateway 10.0.0.1 --dns 10.0.0.1
  berth vm clone web gold && berth vm customize gold --generalize     # for an image: berth image capture web --generalize
  berth vm customize web db --ssh-key ~/.ssh/id_ed25519.pub --new-host-keys --new-machine-id`,
  args: [someVms('VMs to customize')],
  flags: [
    { spec: '--hostname <name>', description: 'its host name; only with one VM' },
    { spec: '--ip <cidr>', description: 'address of its first network card, 10.0.0.5/24, or dhcp; only with one VM' },
    ALLOW_TAKEN_IP,
    { spec: '--gateway <ip>', description: 'default gateway; with --ip' },
    { spec: '--dns <ip>', description: 'name server; with --ip', many: true },
    { spec: '--ssh-key <file>', description: 'public key that may log in, too', kind: 'file', many: true },
    { spec: '--ssh-user <user>', description: 'as whom (default root)' },
    { spec: '--first-boot <file>', description: 'a script that the guest runs once, when it boots next', kind: 'file' },
    {
      spec: '--serial-login',
      description: 'a login on the serial port, and the messages of the kernel (berth vm console)',
    },
    { spec: '--new-machine-id', description: 'a new machine id, made by the guest' },
    { spec: '--new-host-keys', description: 'new SSH host keys, made by the guest' },
    {
      spec: '--generalize',
      description: 'take out what makes it one machine among others, before an image is made of it',
    },
    ...CHOICE,
    NO_WAIT,
  ],
  async run(ctx, names, flags) {
    const request = customizeRequest(flags);
    const vms = await chosen(ctx, 'customize', names, flags);
    if (vms.length > 1 && (request.hostname || (request.address && request.address !== 'dhcp')))
      throw invalidArgument('--hostname and --ip belong to one VM; give one name');
    if (vms.length === 0) return;
    await runMany(ctx, {
      noun: 'vm',
      names: vms,
      wait: flags['wait'] !== false,
      start: (api, vm) => api.call(api.vms, (c) => c.customizeVm, { ...request, vm }),
      done: async (_api, _vm, job) => customized(job),
    });
  },
};

/** What its host says was done. */
export const customized = (job: Job | undefined): string => {
  const what = job?.steps.find((s) => s.name === 'change')?.detail ?? '';
  return what === '' ? 'customized' : `customized: ${what}`;
};

const customizeRequest = (flags: Flags): CustomizeVmRequest =>
  CustomizeVmRequest.fromPartial({
    hostname: text(flags, 'hostname') ?? '',
    address: text(flags, 'ip') ?? '',
    gateway: text(flags, 'gateway') ?? '',
    dns: [...list(flags, 'dns')],
    sshKeys: list(flags, 'sshKey').flatMap((f) => sshKeyLines(readText(f))),
    sshUser: text(flags, 'sshUser') ?? '',
    firstBoot: readText(text(flags, 'firstBoot')),
    serialLogin: yes(flags, 'serialLogin'),
    newMachineId: yes(flags, 'newMachineId'),
    newHostKeys: yes(flags, 'newHostKeys'),
    generalize: yes(flags, 'generalize'),
    ...(yes(flags, 'allowTakenIp') && { allowTakenAddress: true }),
  });
