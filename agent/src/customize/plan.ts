/** From what was asked for and what was found in the guest to what is written into it. Pure; golden files hold it per distribution. */
import type { Look } from '../drivers/guest-disks.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { GuestEntries } from '../drivers/guest-disks.ts';
import type { Actions } from './actions.ts';
import { planGeneralize } from './generalize.ts';
import { Guest, joined, NOTHING, write, type Plan } from './guest.ts';
import { planFirstBoot, planHostKeys, planHostname, planKeys, planMachineId } from './names.ts';
import { planNetwork } from './network/network.ts';
import { planSerial } from './serial.ts';

const text = (...paths: readonly string[]): Look[] => paths.map((path) => ({ path, text: true }));
const there = (...paths: readonly string[]): Look[] => paths.map((path) => ({ path }));

/** All that planners look at, whatever was asked for: so that what was found can be kept as a fixture. */
export const LOOKS: readonly Look[] = [
  ...text('/etc/os-release', '/usr/lib/os-release', '/etc/redhat-release', '/etc/passwd'),
  ...text('/etc/hostname', '/etc/HOSTNAME', '/etc/mailname', '/etc/hosts', '/etc/sysconfig/network'),
  ...text('/etc/network/interfaces', '/etc/network/interfaces.d/*', '/etc/netplan/*.yaml'),
  ...text(
    '/etc/sysconfig/network-scripts/ifcfg-*',
    '/etc/NetworkManager/system-connections/*',
    '/etc/systemd/network/*.network',
  ),
  ...text(
    '/boot/grub/grub.cfg',
    '/boot/grub2/grub.cfg',
    '/boot/efi/EFI/*/grub.cfg',
    '/boot/grub/menu.lst',
    '/boot/grub/grub.conf',
  ),
  ...text('/boot/loader/entries/*.conf', '/boot/grub2/grubenv', '/boot/efi/EFI/*/grubenv', '/etc/kernel/cmdline'),
  ...text(
    '/boot/extlinux.conf',
    '/boot/extlinux/extlinux.conf',
    '/boot/syslinux/syslinux.cfg',
    '/etc/update-extlinux.conf',
  ),
  ...text(
    '/etc/default/grub',
    '/etc/inittab',
    '/etc/securetty',
    '/etc/rc.local',
    '/etc/rc.d/rc.local',
    '/etc/selinux/config',
  ),
  ...text('/root/.ssh/authorized_keys', '/home/*/.ssh/authorized_keys'),
  ...there(
    '/usr/lib/systemd/systemd',
    '/lib/systemd/systemd',
    '/usr/sbin/netplan',
    '/sbin/ifup',
    '/usr/sbin/ifup',
    '/bin/ifup',
  ),
  ...there(
    '/usr/sbin/NetworkManager',
    '/etc/sysconfig/network-scripts/ifup',
    '/etc/sysconfig/network-scripts/ifup-eth',
  ),
  ...there('/etc/systemd/system/multi-user.target.wants/*', '/etc/systemd/system/serial-getty@ttyS0.service'),
  ...there(
    '/usr/lib/systemd/system/serial-getty@.service',
    '/etc/cloud',
    '/etc/resolv.conf',
    '/sbin/resolvconf',
    '/usr/sbin/resolvconf',
  ),
  ...there('/etc/machine-id', '/var/lib/dbus/machine-id', '/etc/ssh/ssh_host_*_key', '/usr/bin/ssh-keygen'),
  ...there('/usr/lib/systemd/system/sshd-keygen*', '/lib/systemd/system/sshd-keygen*', '/usr/sbin/sshd-gen-keys-start'),
  ...there('/etc/rc.d/init.d/sshd', '/etc/local.d', '/etc/init/rc.conf', '/etc/init/tty1.conf'),
];

/** @throws UNSUPPORTED: it cannot be done to this guest; BAD_STATE: a file that must be written is none. */
export function planFor(actions: Actions, entries: GuestEntries): Plan {
  const { hostname, nics, sshKeys, sshUser, firstBoot, serialLogin, generalize } = actions;
  const start = new Guest(entries);
  // what it takes out comes before what is put in; each sees what those before it have done
  const plan = inTurn(start, [
    (g) => planGeneralize(g, generalize),
    (g) => planHostname(g, hostname),
    (g) => planNetwork(g, nics),
    (g) => planMachineId(g, actions.newMachineId && !generalize),
    (g) => planHostKeys(g, actions.newHostKeys && !generalize),
    (g) => planKeys(g, sshKeys, sshUser || 'root'),
    (g) => planFirstBoot(g, firstBoot),
    (g) => planSerial(g, serialLogin),
  ]);
  refuseOdd(start, plan);
  return joined([{ changes: [], words: [start.title] }, plan, relabel(start, plan)]);
}

function inTurn(start: Guest, planners: readonly ((guest: Guest) => Plan)[]): Plan {
  let guest = start;
  const plans: Plan[] = [];
  for (const planner of planners) {
    const plan = planner(guest);
    plans.push(plan);
    guest = guest.after(plan.changes);
  }
  return joined(plans);
}

/** A folder or a pipe where a file is meant: somebody meant something by it, or nobody looked at this disk before. */
function refuseOdd(guest: Guest, { changes }: Plan): void {
  for (const c of changes) {
    const kind = guest.entry(c.path)?.kind;
    if (c.kind === 'write' && (kind === 'other' || kind === 'dir'))
      throw badState(
        `${c.path} of the guest is ${kind === 'dir' ? 'a folder' : 'no regular file'}; nothing was changed in it`,
      );
  }
}

/** New files have no label: the guest gives them theirs when it boots, and boots once more. */
function relabel(guest: Guest, { changes }: Plan): Plan {
  const on = /^\s*SELINUX=(enforcing|permissive)/m.test(guest.text('/etc/selinux/config') ?? '');
  return on && changes.length > 0 ? { changes: [write('/.autorelabel', '')], words: ['SELinux labels anew'] } : NOTHING;
}
