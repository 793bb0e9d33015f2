/** Guests of several distributions as they are found on their disks: what the planners' tests are made of. */
import type { GuestEntries, GuestEntry } from '../drivers/guest-disks.ts';

/** A text is a file, `-> x` a link, `/` a folder, `?` a pipe. */
export function guest(files: Readonly<Record<string, string>>): GuestEntries {
  return new Map(Object.entries(files).map(([path, what]) => [path, entry(what)]));
}

function entry(what: string): GuestEntry {
  if (what === '/') return { kind: 'dir' };
  if (what === '?') return { kind: 'other' };
  if (what.startsWith('-> ')) return { kind: 'link', target: what.slice(3), text: undefined };
  return { kind: 'file', text: what };
}

const SYSTEMD = {
  '/usr/lib/systemd/systemd': '',
  '/usr/lib/systemd/system/serial-getty@.service': '',
  '/usr/bin/ssh-keygen': '',
  '/etc/machine-id': '0123\n',
  '/etc/ssh/ssh_host_ed25519_key': 'x',
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\nops:x:1000:1000:,,,:/home/ops:/bin/bash\n',
};
const GRUB = 'menuentry "x" {\n\tlinux\t/boot/vmlinuz-6.1 root=UUID=1 ro quiet\n\tinitrd\t/boot/initrd.img-6.1\n}\n';

export const GUESTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  debian12: {
    ...SYSTEMD,
    '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    '/etc/hostname': 'template\n',
    '/etc/hosts': '127.0.0.1\tlocalhost\n127.0.1.1\ttemplate.lan\ttemplate\n::1 localhost\n',
    '/etc/network/interfaces':
      '# kept\nsource /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\nallow-hotplug ens3 ens4\niface ens3 inet static\n  address 10.0.0.9/24\n  gateway 10.0.0.1\n\nauto br5\niface br5 inet manual\n  bridge_ports ens4\n',
    '/etc/network/interfaces.d/more': 'auto ens9\niface ens9 inet dhcp\n',
    '/etc/resolv.conf': '',
    '/sbin/ifup': '',
    '/etc/default/grub': 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n',
    '/boot/grub/grub.cfg': GRUB,
    '/var/lib/dbus/machine-id': '-> /etc/machine-id',
  },
  'debian7, sysvinit': {
    '/etc/os-release': 'PRETTY_NAME="Debian GNU/Linux 7 (wheezy)"\nID=debian\n',
    '/etc/hostname': 'old\n',
    '/etc/hosts': '127.0.0.1 localhost\n',
    '/etc/network/interfaces': 'auto lo\niface lo inet loopback\n',
    '/sbin/ifup': '',
    '/etc/rc.local': '#!/bin/sh -e\nexit 0\n',
    '/etc/inittab': 'id:2:initdefault:\n1:2345:respawn:/sbin/getty 38400 tty1\n',
    '/etc/securetty': 'console\ntty1\n',
    '/etc/ssh/ssh_host_rsa_key': 'x',
    '/usr/bin/ssh-keygen': '',
    '/boot/extlinux/extlinux.conf': 'label l0\n\tlinux /vmlinuz\n\tappend root=/dev/vda1 ro quiet\n',
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/bash\n',
  },
  ubuntu: {
    ...SYSTEMD,
    '/etc/os-release': 'PRETTY_NAME="Ubuntu 22.04 LTS"\nID=ubuntu\nID_LIKE=debian\n',
    '/usr/sbin/netplan': '',
    '/etc/netplan/50-cloud-init.yaml':
      'network:\n  version: 2\n  renderer: NetworkManager\n  ethernets:\n    ens3:\n      match: {macaddress: "52:54:00:00:00:99"}\n      addresses: [10.0.0.9/24]\n',
    '/etc/netplan/01-main.yaml': 'network:\n  version: 2\n',
    '/etc/cloud': '/',
    '/boot/grub/grub.cfg': GRUB,
    '/etc/default/grub': 'GRUB_CMDLINE_LINUX="nomodeset"\n',
  },
  centos7: {
    ...SYSTEMD,
    '/etc/redhat-release': 'CentOS Linux release 7.9.2009 (Core)\n',
    '/etc/os-release': 'PRETTY_NAME="CentOS Linux 7 (Core)"\nID="centos"\nID_LIKE="rhel fedora"\n',
    '/usr/lib/systemd/system/sshd-keygen.service': '',
    '/etc/sysconfig/network': '# made by anaconda\nGATEWAY=10.0.0.254\nHOSTNAME=template\n',
    '/etc/sysconfig/network-scripts/ifcfg-lo': 'DEVICE=lo\n',
    '/etc/sysconfig/network-scripts/ifcfg-eth0':
      'DEVICE=eth0\nHWADDR=52:54:00:00:00:99\nUUID=1-2\nBOOTPROTO=static\nIPADDR=10.0.0.9\nNETMASK=255.255.255.0\n',
    '/etc/sysconfig/network-scripts/ifcfg-eth9': 'DEVICE=eth9\nBRIDGE=br0\n',
    '/etc/sysconfig/network-scripts/ifup': '',
    '/etc/selinux/config': '# x\nSELINUX=enforcing\n',
    '/etc/securetty': 'tty1\n',
    '/boot/grub2/grub.cfg': GRUB.replace('linux\t', 'linux16 '),
    '/etc/default/grub': 'GRUB_CMDLINE_LINUX="crashkernel=auto rhgb quiet"\n',
  },
  rocky9: {
    ...SYSTEMD,
    '/etc/os-release': 'PRETTY_NAME="Rocky Linux 9.3"\nID="rocky"\nID_LIKE="rhel centos fedora"\n',
    '/usr/sbin/NetworkManager': '',
    '/etc/systemd/system/multi-user.target.wants/NetworkManager.service': '-> /usr/lib/x',
    '/usr/lib/systemd/system/sshd-keygen@.service': '',
    '/etc/NetworkManager/system-connections/enp1s0.nmconnection':
      '[connection]\nid=enp1s0\nuuid=1-2\ntype=ethernet\n[ethernet]\nmac-address=52:54:00:00:00:99\n[ipv4]\nmethod=auto\n',
    '/etc/NetworkManager/system-connections/br0.nmconnection': '[connection]\ntype=bridge\n',
    '/boot/loader/entries/a.conf': 'title Rocky\nlinux /vmlinuz\noptions root=/dev/mapper/rl-root ro $kernelopts\n',
    '/boot/loader/entries/b.conf': 'title Rescue\noptions root=/dev/mapper/rl-root ro\n',
    '/boot/grub2/grubenv': '# GRUB Environment Block\nkernelopts=root=/dev/mapper/rl-root ro\n'.padEnd(1024, '#'),
    '/etc/kernel/cmdline': 'root=/dev/mapper/rl-root ro\n',
  },
  networkd: {
    ...SYSTEMD,
    '/etc/os-release': 'PRETTY_NAME="Arch Linux"\nID=arch\n',
    '/etc/systemd/network/20-wired.network': '[Match]\nMACAddress=52:54:00:00:00:99\n[Network]\nAddress=10.0.0.9/24\n',
    '/etc/systemd/network/30-br.network': '[Match]\nName=ens4\n[Network]\nBridge=br0\n',
    '/etc/systemd/system/serial-getty@ttyS0.service': '-> /dev/null',
    '/etc/resolv.conf': '-> /run/systemd/resolve/stub-resolv.conf',
    '/boot/loader/entries/arch.conf': 'options root=/dev/vda2 rw console=ttyS0\n',
  },
  alpine: {
    '/etc/os-release': 'PRETTY_NAME="Alpine Linux v3.19"\nID=alpine\n',
    '/etc/hostname': 'alpine\n',
    '/etc/network/interfaces': 'auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n',
    '/sbin/ifup': '',
    '/etc/local.d': '/',
    '/etc/inittab': '::sysinit:/sbin/openrc sysinit\n#ttyS0::respawn:/sbin/getty -L ttyS0 115200 vt100\n',
    '/etc/ssh/ssh_host_rsa_key': 'x',
    '/boot/extlinux.conf': 'LABEL virt\n  APPEND root=UUID=1 quiet\n',
    '/etc/update-extlinux.conf': 'default_kernel_opts="quiet rootfstype=ext4"\n',
    '/etc/passwd': 'root:x:0:0:root:/root:/bin/ash\n',
  },
};
