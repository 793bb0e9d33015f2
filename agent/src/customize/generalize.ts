/**
 * What makes a guest one machine among others is taken out, as virt-sysprep does: machine id, host keys, MAC addresses and
 * UUIDs in what sets up its network, names that udev gave to cards, leases, logs, histories, seeds of randomness, the state of
 * cloud-init. Accounts, passwords and what was installed stay. Pure.
 */
import { stringify } from 'yaml';
import type { Change } from '../drivers/guest-disks.ts';
import { joined, linesOf, NOTHING, remove, textOf, write, type Guest, type Plan } from './guest.ts';
import { planHostKeys, planMachineId } from './names.ts';
import { networkOf } from './network/netplan.ts';
import { cardFiles } from './network/networkd.ts';
import { OLD_NAMES } from './network/network.ts';

export function planGeneralize(guest: Guest, wanted: boolean): Plan {
  if (!wanted) return NOTHING;
  const cloud = guest.has('/etc/cloud');
  return joined([
    planMachineId(guest, true),
    planHostKeys(guest, true, !cloud),
    { changes: [...network(guest), ...LITTER.map(remove), ...names(guest)], words: ['generalized'] },
  ]);
}

const LITTER = [
  ...OLD_NAMES,
  '/etc/udev/rules.d/70-berth-net.rules',
  '/var/lib/dhcp/*.leases',
  '/var/lib/dhcp/dhclient*',
  '/var/lib/dhclient/*',
  '/var/lib/dhcpcd/*',
  '/var/lib/NetworkManager/*.lease',
  '/var/lib/NetworkManager/secret_key',
  '/var/lib/NetworkManager/timestamps',
  '/var/lib/systemd/random-seed',
  '/var/lib/systemd/credential.secret',
  '/var/lib/random-seed',
  '/var/lib/urandom/random-seed',
  '/var/lib/cloud/instance',
  '/var/lib/cloud/instances',
  '/var/lib/cloud/data',
  '/var/lib/cloud/sem',
  '/etc/cloud/cloud.cfg.d/99-berth-network.cfg',
  '/etc/cloud/cloud.cfg.d/99-berth-name.cfg',
  '/usr/lib/berth',
  '/root/.bash_history',
  '/root/.ssh/known_hosts',
  '/home/*/.bash_history',
  '/root/anaconda-ks.cfg',
  '/root/original-ks.cfg',
  '/var/log/journal',
  ...['log', 'log.*', 'gz', 'old', '1', '2', '3', '4'].map((end) => `/var/log/*.${end}`),
  ...['messages', 'syslog', 'secure', 'cron', 'maillog', 'dmesg', 'debug', 'boot'].map((name) => `/var/log/${name}*`),
  ...['wtmp', 'btmp', 'lastlog', 'faillog', 'tallylog'].map((name) => `/var/log/${name}`),
  ...['audit', 'installer', 'anaconda', 'cups', 'libvirt', 'sa', 'sysstat'].map((name) => `/var/log/${name}/*`),
  '/tmp/*',
  '/var/tmp/*',
  '/var/spool/mail/root',
  '/var/mail/root',
];

/** Its name is given to each clone; until then it is nobody's. */
function names(guest: Guest): Change[] {
  const old = guest.text('/etc/hostname')?.trim() ?? '';
  if (old === '' || old === 'localhost') return [];
  const lines = linesOf(guest.text('/etc/hosts') ?? '');
  const kept = lines.filter((l) => !/^\s*127\.0\.1\.1\s/.test(l));
  return [
    write('/etc/hostname', 'localhost\n'),
    ...(kept.length < lines.length ? [write('/etc/hosts', textOf(kept))] : []),
  ];
}

function network(guest: Guest): Change[] {
  return [
    ...edited(guest, /^\/etc\/sysconfig\/network-scripts\/ifcfg-[^/]+$/, (text) =>
      lessLines(text, /^\s*(HWADDR|UUID|MACADDR)=/),
    ),
    ...edited(guest, /^\/etc\/NetworkManager\/system-connections\/[^/]+$/, (text) =>
      lessLines(text, /^\s*(mac-address|uuid|timestamp)\s*=/),
    ),
    ...cardFiles(guest).flatMap((path) =>
      changed(guest, path, (text) => text.replace(/^\s*MACAddress\s*=.*$/m, 'Type=ether')),
    ),
    ...guest.paths(/^\/etc\/netplan\/[^/]+\.yaml$/).flatMap((path) => netplan(guest, path)),
    ...edited(guest, /^\/etc\/network\/interfaces(\.d\/[^/]+)?$/, (text) => lessLines(text, /^\s*hwaddress\s/)),
  ];
}

/** A card that is found by its MAC address is none of the clones': any card, by DHCP, until somebody says more. */
function netplan(guest: Guest, path: string): Change[] {
  const { ethernets } = networkOf(guest, path);
  if (!/macaddress/.test(JSON.stringify(ethernets ?? ''))) return [];
  const any = { match: { name: 'e*' }, dhcp4: true };
  return [write(path, stringify({ network: { version: 2, ethernets: { any } } }), 0o600)];
}

const lessLines = (text: string, pattern: RegExp): string => textOf(linesOf(text).filter((l) => !pattern.test(l)));

const edited = (guest: Guest, paths: RegExp, edit: (text: string) => string): Change[] =>
  guest.paths(paths).flatMap((path) => changed(guest, path, edit));

function changed(guest: Guest, path: string, edit: (text: string) => string): Change[] {
  const text = guest.text(path);
  if (text === undefined) return [];
  const now = edit(text);
  return now === text ? [] : [write(path, now)];
}
