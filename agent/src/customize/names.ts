/** A guest's host name, machine id, SSH keys of both kinds, and its first-boot script. Pure. */
import { unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Change } from '../drivers/guest-disks.ts';
import { link, linesOf, NOTHING, remove, textOf, write, type Guest, type Plan } from './guest.ts';
import { firstBootHook, onceAtBoot } from './first-boot.ts';

export function planHostname(guest: Guest, name: string): Plan {
  if (name === '') return NOTHING;
  const old = guest.text('/etc/hostname')?.trim().split('\n')[0] ?? '';
  const changes: Change[] = [write('/etc/hostname', `${name}\n`), ...hosts(guest, name, old)];
  if (guest.has('/etc/HOSTNAME')) changes.push(write('/etc/HOSTNAME', `${name}\n`));
  if (guest.has('/etc/mailname')) changes.push(write('/etc/mailname', `${name}\n`));
  const network = '/etc/sysconfig/network';
  const lines = linesOf(guest.text(network) ?? '');
  if (lines.some((l) => /^\s*HOSTNAME=/.test(l)))
    changes.push(write(network, textOf(lines.map((l) => (/^\s*HOSTNAME=/.test(l) ? `HOSTNAME=${name}` : l)))));
  if (guest.has('/etc/cloud'))
    changes.push(write('/etc/cloud/cloud.cfg.d/99-berth-name.cfg', 'preserve_hostname: true\n'));
  return { changes, words: [`host name ${name}`] };
}

/** The one line that says who this is; the template's goes. */
function hosts(guest: Guest, name: string, old: string): Change[] {
  const path = '/etc/hosts';
  const short = name.split('.')[0]!;
  const own = `127.0.1.1 ${name === short ? name : `${name} ${short}`}`;
  const names = new Set([old, old.split('.')[0]].filter((n) => n && n !== 'localhost'));
  const kept = linesOf(guest.text(path) ?? '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n').flatMap(
    (line) => {
      const [address = '', ...all] = line.replace(/#.*/, '').trim().split(/\s+/);
      if (address === '127.0.1.1') return [];
      const left = all.filter((n) => !names.has(n));
      if (left.length === all.length) return [line];
      return left.length === 0 ? [] : [`${address} ${left.join(' ')}`];
    },
  );
  const at = kept.findIndex((l) => /^\s*127\.0\.0\.1\s/.test(l));
  return [write(path, textOf([...kept.slice(0, at + 1), own, ...kept.slice(at + 1)]))];
}

/** Empty, and not absent: systemd then makes one and keeps it, and units that run once per machine run again. */
export function planMachineId(guest: Guest, wanted: boolean): Plan {
  if (!wanted || !guest.has('/etc/machine-id', '/var/lib/dbus/machine-id')) return NOTHING;
  const changes: Change[] = guest.has('/etc/machine-id') ? [write('/etc/machine-id', '')] : [];
  if (guest.entry('/var/lib/dbus/machine-id')?.kind === 'file') changes.push(remove('/var/lib/dbus/machine-id'));
  return { changes, words: ['a new machine id'] };
}

const KEYGEN_UNIT = `# Written by Berth: this guest's SSH host keys were its template's, and have been removed.
[Unit]
Description=Make SSH host keys
Before=ssh.service sshd.service ssh.socket sshd.socket
After=local-fs.target

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
`;

/** By the time that it runs, sshd has been started and has ended, for it had no key. */
const KEYGEN_SCRIPT = `ssh-keygen -A
for service in ssh sshd; do [ ! -x /etc/init.d/$service ] || /etc/init.d/$service restart; done`;

/** @param remake they are made anew at the next boot also where the distribution would not do it. */
export function planHostKeys(guest: Guest, wanted: boolean, remake = true): Plan {
  if (!wanted || guest.paths(/^\/etc\/ssh\/ssh_host_[^/]+_key$/).length === 0) return NOTHING;
  const gone = ['key', 'key.pub', 'key-cert.pub'].map((end) => remove(`/etc/ssh/ssh_host_*_${end}`));
  const words = ['new SSH host keys'];
  if (!remake || makesItsOwn(guest)) return { changes: gone, words };
  if (!guest.has('/usr/bin/ssh-keygen'))
    throw unsupported('the guest has SSH host keys and no ssh-keygen to make new ones: install openssh-client in it');
  if (!guest.systemd) return { changes: [...gone, ...onceAtBoot(guest, 'ssh-keys', KEYGEN_SCRIPT)], words };
  const unit = 'berth-ssh-keys.service';
  const wants = `/etc/systemd/system/multi-user.target.wants/${unit}`;
  const made = [write(`/etc/systemd/system/${unit}`, KEYGEN_UNIT), link(wants, `/etc/systemd/system/${unit}`)];
  return { changes: [...gone, ...made], words };
}

/** Red Hat's, SUSE's and Alpine's sshd make keys that are not there. */
const makesItsOwn = (guest: Guest): boolean =>
  guest.hasUnit('sshd-keygen.service') ||
  guest.hasUnit('sshd-keygen@.service') ||
  guest.has('/usr/sbin/sshd-gen-keys-start', '/etc/rc.d/init.d/sshd') ||
  guest.is('alpine');

interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

export function planKeys(guest: Guest, keys: readonly string[], user: string): Plan {
  if (keys.length === 0) return NOTHING;
  const { uid, gid, home } = accountOf(guest, user);
  const path = `${home}/.ssh/authorized_keys`;
  const there = linesOf(guest.text(path) ?? '');
  const added = keys.map((k) => k.trim()).filter((k) => !there.includes(k));
  const owner = { uid, gid };
  const changes: Change[] = [
    { kind: 'folder', path: `${home}/.ssh`, mode: 0o700, owner },
    write(path, textOf([...there, ...added]), 0o600, owner),
  ];
  return { changes, words: [`${keys.length} SSH ${keys.length === 1 ? 'key' : 'keys'} for ${user}`] };
}

function accountOf(guest: Guest, user: string): Account {
  const line = linesOf(guest.text('/etc/passwd') ?? '').find((l) => l.startsWith(`${user}:`));
  const [, , uid, gid, , home] = line?.split(':') ?? [];
  if (!uid || !gid || !home || !/^\d+$/.test(uid + gid) || !/^\/[\w./-]*$/.test(home) || home.includes('..'))
    throw unsupported(`the guest has no user ${user} with a home folder, so no SSH key can be given to it`);
  return { uid: Number(uid), gid: Number(gid), home: home.replace(/\/+$/, '') };
}

export function planFirstBoot(guest: Guest, script: string): Plan {
  if (script === '') return NOTHING;
  return { changes: firstBootHook(guest, script), words: ['a first-boot script'] };
}
