/**
 * Guests on simulated disks: each volume has the few files of a small Debian, kept in memory when they are changed. What a guest
 * would make of them is not simulated.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';
import type { Change, GuestDisks, GuestEntry, Look } from '../guest-disks.ts';

const file = (text: string): GuestEntry => ({ kind: 'file', text });

const DEBIAN: Readonly<Record<string, GuestEntry>> = {
  '/etc/os-release': file('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'),
  '/etc/hostname': file('template\n'),
  '/etc/hosts': file('127.0.0.1 localhost\n127.0.1.1 template\n'),
  '/etc/machine-id': file('0123456789abcdef0123456789abcdef\n'),
  '/etc/passwd': file('root:x:0:0:root:/root:/bin/bash\ndebian:x:1000:1000::/home/debian:/bin/bash\n'),
  '/etc/network/interfaces': file('auto lo\niface lo inet loopback\nauto ens3\niface ens3 inet dhcp\n'),
  '/etc/ssh/ssh_host_ed25519_key': file('simulated\n'),
  '/etc/default/grub': file('GRUB_CMDLINE_LINUX=""\n'),
  '/boot/grub/grub.cfg': file('linux /boot/vmlinuz root=/dev/vda1 ro quiet\n'),
  '/usr/lib/systemd/systemd': file(''),
  '/sbin/ifup': file(''),
  '/usr/bin/ssh-keygen': file(''),
};

/** An appliance comes up in this time, so that it can be seen to run and be cancelled. */
const EDIT_MS = 150;

export function createSimGuestDisks(host: SimHost, clock: Clock): GuestDisks {
  return {
    whyNot: async () =>
      host.faults.noGuestfish ? 'guestfish is not installed on this host: apt-get install guestfish' : undefined,
    async edit({ volumeId }, edit, work) {
      const files = new Map(host.guestFiles.get(volumeId) ?? Object.entries(DEBIAN));
      work.onProgress(10, 100);
      await clock.sleep(EDIT_MS, work.signal).catch((e: unknown) => {
        throw isClusterError(work.signal.reason) ? work.signal.reason : e;
      });
      const found = new Map([...files].filter(([path]) => edit.looks.some((l) => matches(l, path))));
      const changes = edit.plan(found);
      await edit.allowed();
      if (!host.volumes.has(volumeId) && !host.uploads.has(volumeId))
        throw new ClusterError('NOT_FOUND', `volume ${volumeId} is not on this host`);
      for (const c of changes) apply(files, c);
      host.guestFiles.set(volumeId, files);
      work.onProgress(100, 100);
    },
    drop: async () => undefined,
    unfinished: async () => [],
  };
}

const pattern = (path: string, more: string): RegExp =>
  new RegExp(
    `^${path
      .split('*')
      .map((p) => p.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
      .join('[^/]*')}${more}$`,
  );

const matches = (look: Look, path: string): boolean => pattern(look.path, '').test(path);

function apply(files: Map<string, GuestEntry>, c: Change): void {
  if (c.kind === 'write') files.set(c.path, file(c.text));
  else if (c.kind === 'link') files.set(c.path, { kind: 'link', target: c.target, text: undefined });
  else if (c.kind === 'folder') files.set(c.path, { kind: 'dir' });
  else for (const path of [...files.keys()]) if (pattern(c.path, '(/.*)?').test(path)) files.delete(path);
}
