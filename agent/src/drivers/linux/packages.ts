/** Which Debian package a program is in: for words about what is missing. */
export const PACKAGES: Readonly<Record<string, string>> = {
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-storage-daemon': 'qemu-system-common',
  'qemu-system-x86_64': 'qemu-system-x86',
  genisoimage: 'genisoimage',
  guestfish: 'guestfish',
  supermin: 'supermin',
  ip: 'iproute2',
  lvextend: 'lvm2',
  flock: 'util-linux',
  unshare: 'util-linux',
  setpriv: 'util-linux',
  prlimit: 'util-linux',
  choom: 'util-linux',
  ionice: 'util-linux',
  'systemd-run': 'systemd',
};
