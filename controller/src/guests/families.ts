/**
 * Which devices a guest system can work with out of the box: a small table of families, each with the names that it goes by.
 * Names are short, as libosinfo's are (rhel7, win10, debian12); what its data adds is osinfo.ts's. Pure.
 */
import type { DiskBus, Hardware, NIC_MODELS } from '@berth/shared/hardware/schema.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** What a VM gets of which nothing else was said. */
export interface Devices {
  readonly diskBus: DiskBus;
  readonly nicModel: (typeof NIC_MODELS)[number];
  readonly hardware: Hardware;
  readonly vcpus: number;
  readonly memoryBytes: number;
}

export interface Family {
  readonly name: string;
  readonly title: string;
  readonly devices: Devices;
}

/** What brings drivers for virtio with it: Linux and the BSDs of the last fifteen years. */
const VIRTIO: Devices = { diskBus: 'virtio', nicModel: 'virtio', hardware: {}, vcpus: 1, memoryBytes: GIB };
/** virtio, but not on q35's PCIe. */
const VIRTIO_PC: Devices = { ...VIRTIO, hardware: { machine: 'pc', video: { model: 'cirrus' } } };
/** Before there was virtio, or AHCI. */
const OLD: Devices = {
  ...{ diskBus: 'ide', nicModel: 'rtl8139', vcpus: 1, memoryBytes: 512 * MIB },
  hardware: { machine: 'pc', video: { model: 'cirrus' } },
};
/** Nothing is known of it: what everything since 2006 has drivers for. */
const PLAIN: Devices = {
  ...{ diskBus: 'sata', nicModel: 'e1000', vcpus: 1, memoryBytes: GIB },
  hardware: { usbTablet: true },
};
const WINDOWS_HARDWARE: Hardware = { clock: { offset: 'localtime' }, usbTablet: true, hyperv: true };
/** It brings no drivers for virtio; e1000e it knows since Windows 8. */
const WINDOWS: Devices = {
  ...{ diskBus: 'sata', nicModel: 'e1000e', vcpus: 2, memoryBytes: 4 * GIB },
  hardware: WINDOWS_HARDWARE,
};
const WINDOWS_7: Devices = { ...WINDOWS, nicModel: 'e1000', memoryBytes: 2 * GIB };
const WINDOWS_OLD: Devices = {
  ...{ diskBus: 'ide', nicModel: 'rtl8139', vcpus: 1, memoryBytes: 512 * MIB },
  hardware: { machine: 'pc', clock: { offset: 'localtime' }, usbTablet: true },
};
/** Its setup insists on all of these. */
const WINDOWS_11: Devices = {
  ...WINDOWS,
  hardware: {
    ...WINDOWS_HARDWARE,
    machine: 'q35',
    firmware: { type: 'uefi', secureBoot: true },
    tpm: { version: '2.0', model: 'tpm-crb' },
  },
};

interface Row extends Family {
  /** Names that belong to it. */
  readonly match: RegExp;
  /** Of those, the ones that are offered. */
  readonly offered: Readonly<Record<string, string>>;
}

const RHEL = '(rhel|centos|centos-stream|almalinux|alma|rocky|rockylinux|ol|oracle|scientific)-?';

/** @param titles name → title; @param first of a name's numbers. */
const versions = (name: string, title: string, all: readonly string[]): Readonly<Record<string, string>> =>
  Object.fromEntries(all.map((v) => [`${name}${v}`, `${title} ${v}`]));

const ROWS: readonly Row[] = [
  {
    ...{ name: 'windows-11', title: 'Windows 11, Server 2025', devices: WINDOWS_11 },
    match: /^win(dows)?-?(11|2k25|2025)/,
    offered: { win11: 'Windows 11', win2k25: 'Windows Server 2025' },
  },
  {
    ...{ name: 'windows-old', title: 'Windows XP and before, Server 2003', devices: WINDOWS_OLD },
    match: /^win(dows)?-?(xp|2k$|2k3|2003|2000|9[58]|me|nt)/,
    offered: { winxp: 'Windows XP', win2k3: 'Windows Server 2003' },
  },
  {
    ...{ name: 'windows-7', title: 'Windows Vista and 7, Server 2008', devices: WINDOWS_7 },
    match: /^win(dows)?-?(vista|7|2k8|2008)/,
    offered: { win7: 'Windows 7', win2k8: 'Windows Server 2008', win2k8r2: 'Windows Server 2008 R2' },
  },
  {
    ...{ name: 'windows', title: 'Windows 8 and 10, Server 2012 to 2022', devices: WINDOWS },
    match: /^win/,
    offered: {
      ...{
        win8: 'Windows 8',
        win10: 'Windows 10',
        win2k12: 'Windows Server 2012',
        win2k12r2: 'Windows Server 2012 R2',
      },
      ...{ win2k16: 'Windows Server 2016', win2k19: 'Windows Server 2019', win2k22: 'Windows Server 2022' },
    },
  },
  {
    ...{ name: 'rhel-old', title: 'Red Hat Enterprise Linux 4 and before', devices: OLD },
    match: new RegExp(`^${RHEL}[1-4](\\.|$|-)`),
    offered: versions('rhel', 'Red Hat Enterprise Linux', ['4']),
  },
  {
    ...{ name: 'rhel-pc', title: 'Red Hat Enterprise Linux 5 and 6, and what is made of it', devices: VIRTIO_PC },
    match: new RegExp(`^${RHEL}[56](\\.|$|-)`),
    offered: {
      ...versions('rhel', 'Red Hat Enterprise Linux', ['5', '6']),
      ...versions('centos', 'CentOS', ['5', '6']),
    },
  },
  {
    ...{ name: 'rhel', title: 'Red Hat Enterprise Linux 7 and later, and what is made of it' },
    devices: { ...VIRTIO, memoryBytes: 2 * GIB },
    match: new RegExp(`^${RHEL}`),
    offered: {
      ...versions('rhel', 'Red Hat Enterprise Linux', ['7', '8', '9', '10']),
      ...versions('centos', 'CentOS', ['7', '8']),
      ...versions('centos-stream', 'CentOS Stream', ['8', '9', '10']),
      ...versions('almalinux', 'AlmaLinux', ['8', '9', '10']),
      ...versions('rocky', 'Rocky Linux', ['8', '9', '10']),
    },
  },
  {
    ...{ name: 'fedora', title: 'Fedora', devices: { ...VIRTIO, memoryBytes: 2 * GIB } },
    match: /^fedora/,
    offered: { fedora: 'Fedora' },
  },
  {
    ...{ name: 'debian-old', title: 'Debian 4 and before', devices: OLD },
    match: /^debian[1-4]($|\.)/,
    offered: {},
  },
  {
    ...{ name: 'debian', title: 'Debian 5 and later', devices: VIRTIO },
    match: /^debian/,
    offered: versions('debian', 'Debian', ['8', '9', '10', '11', '12', '13']),
  },
  {
    ...{ name: 'ubuntu', title: 'Ubuntu', devices: { ...VIRTIO, memoryBytes: 2 * GIB } },
    match: /^[kx]?ubuntu/,
    offered: versions('ubuntu', 'Ubuntu', ['14.04', '16.04', '18.04', '20.04', '22.04', '24.04']),
  },
  {
    ...{ name: 'linux', title: 'any Linux since 2.6.26', devices: VIRTIO },
    match: /^(linux|alpine|arch|opensuse|sles|sled|gentoo|nixos|void|mageia|slackware|cirros|generic-?linux)/,
    offered: {
      ...{ linux: 'any Linux of today', alpine: 'Alpine Linux', archlinux: 'Arch Linux', cirros: 'CirrOS' },
      ...versions('opensuse', 'openSUSE Leap ', ['15']),
      ...versions('sles', 'SUSE Linux Enterprise Server', ['12', '15']),
    },
  },
  {
    ...{ name: 'bsd', title: 'FreeBSD, OpenBSD, NetBSD, DragonFly', devices: VIRTIO },
    match: /^(freebsd|openbsd|netbsd|dragonfly)/,
    offered: {
      ...versions('freebsd', 'FreeBSD', ['12', '13', '14']),
      ...{ openbsd7: 'OpenBSD 7', netbsd10: 'NetBSD 10' },
    },
  },
  {
    ...{ name: 'generic', title: 'anything else', devices: PLAIN },
    match: /^(generic|unknown|other)$/,
    offered: { generic: 'anything: devices that everything since 2006 has drivers for' },
  },
];

/** The family of a guest by its name; undefined when it is not known. */
export const familyOf = (name: string): Family | undefined => ROWS.find((r) => r.match.test(name));

export interface Offered {
  readonly name: string;
  readonly title: string;
  readonly family: string;
}

export const offered = (): readonly Offered[] =>
  ROWS.flatMap((r) => Object.entries(r.offered).map(([name, title]) => ({ name, title, family: r.name })));

export { PLAIN, VIRTIO, OLD };
