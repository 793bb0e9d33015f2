/**
 * Definitions, each of one theme, that together say everything: kept as golden XML, read back, and in the lab defined with a
 * real libvirt. Where their files lie is fixed, so that a lab can make them.
 */
import { EVERYTHING, EVERY_NIC_OPTION } from '@berth/shared/hardware/everything.fixture.ts';
import type { VolumeSeen } from '../../drivers/disks.ts';
import type { DomainSpec } from '../spec.ts';
import type { DomainHost } from './host.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
export const IMAGE = `sha256:${'5f'.repeat(32)}`;

export const host: DomainHost = {
  domainType: 'qemu',
  emulatorPath: '/usr/bin/qemu-system-x86_64',
  directIo: true,
  serialLogPath: '/var/lib/berth/serial/vm-web.log',
  bootDir: '/var/lib/berth/boot',
  volumePath: (id, seed) => `/var/lib/berth/volumes/${id}.${seed ? 'iso' : id.endsWith('raw') ? 'raw' : 'qcow2'}`,
  volumeFormat: (id) => (id.endsWith('raw') ? 'raw' : 'qcow2'),
  imagePath: (id) => (id.endsWith('root') ? `/var/lib/berth/images/${'5f'.repeat(32)}.qcow2` : undefined),
  mediumPath: (digest) => `/var/lib/berth/images/${digest.slice('sha256:'.length)}.qcow2`,
};

const base: DomainSpec = {
  vmId: 'vm-web',
  uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10',
  name: 'web',
  vcpus: 1,
  memoryBytes: 128 * MIB,
  disks: [],
  nics: [],
  seedVolumeId: undefined,
  generation: 3,
};
const nic = { mac: '52:54:00:0a:0b:0c', bridge: 'br0', model: 'virtio' };
const root = { target: 'vda', volumeId: 'volume-root' };
const data = (target: string, options: DomainSpec['disks'][number]['options']) => {
  const raw = options?.format === 'raw' ? '-raw' : '';
  return { target, volumeId: `volume-${target}${raw}`, ...(options && { options }) };
};

/** What people have on their own hosts today (8 GiB, an ISO on IDE, VNC for everybody). */
const sample: DomainSpec = {
  ...base,
  vcpus: 4,
  memoryBytes: 8 * GIB,
  hardware: {
    machine: 'pc',
    pae: true,
    lifecycle: { onCrash: 'restart' },
    boot: { order: ['cdrom', 'disk'] },
    graphics: [{ type: 'vnc', listen: '0.0.0.0' }],
    sound: { model: 'ich6', pciAddress: '0000:00:04.0' },
    video: { model: 'cirrus', pciAddress: '0000:00:02.0' },
    balloon: { pciAddress: '0000:00:06.0' },
  },
  disks: [data('vda', { pciAddress: '0000:00:05.0', format: 'raw' })],
  cdroms: [{ target: 'hda', bus: 'ide', imageDigest: IMAGE }],
  nics: [{ ...nic, options: { pciAddress: '0000:00:03.0' } }],
};

export const THEMES: Readonly<Record<string, DomainSpec>> = {
  sample,
  everything: {
    ...base,
    vcpus: 4,
    memoryBytes: 4 * GIB,
    hardware: EVERYTHING,
    disks: [
      data('vda', {
        ...{ io: 'native', discard: 'ignore', detectZeroes: 'unmap', serial: 'WD-1234', readOnly: true, ioThread: 2 },
        ...{ format: 'raw', pciAddress: '0000:00:05.0' },
        qos: { readBytesPerSecond: 50_000_000, writeBytesPerSecond: 20_000_000, totalOperationsPerSecond: 1000 },
      }),
    ],
    cdroms: [{ target: 'sda', bus: 'sata', imageDigest: undefined }],
    nics: [{ ...nic, options: EVERY_NIC_OPTION }],
  },
  sizes: {
    ...base,
    vcpus: 2,
    hardware: {
      maxVcpus: 4,
      maxMemoryBytes: 256 * MIB,
      cpu: {
        topology: { sockets: 1, cores: 2, threads: 2 },
        pinning: [
          { vcpu: 0, cpus: '0-1' },
          { vcpu: 1, cpus: '1' },
        ],
        emulatorCpus: '0',
        numa: [
          { cpus: '0-1', memoryBytes: 128 * MIB, hostNodes: '0' },
          { cpus: '2-3', memoryBytes: 128 * MIB },
        ],
      },
      balloon: { freePageReporting: true },
    },
  },
  cpu: {
    ...base,
    hardware: {
      cpu: { mode: 'custom', model: 'Westmere', features: [{ name: 'vmx', policy: 'disable' }, { name: 'aes' }] },
    },
  },
  'cpu-features': { ...base, hardware: { cpu: { features: [{ name: 'aes' }] } } },
  'cpu-maximum': { ...base, hardware: { cpu: { mode: 'maximum' } } },
  pages: { ...base, hardware: { memoryBacking: { hugepageBytes: 2 * MIB, locked: true, mergeable: false } } },
  uefi: { ...base, memoryBytes: 256 * MIB, hardware: { firmware: { type: 'uefi' }, tpm: {} } },
  'uefi-secure': {
    ...base,
    memoryBytes: 256 * MIB,
    hardware: { firmware: { type: 'uefi', secureBoot: true }, tpm: { version: '1.2', model: 'tpm-tis' } },
  },
  'uefi-pc': { ...base, memoryBytes: 256 * MIB, hardware: { machine: 'pc', firmware: { type: 'uefi' } } },
  boot: {
    ...base,
    hardware: { boot: { order: ['cdrom', 'disk', 'network'], menu: true, menuTimeoutMs: 3000 } },
    disks: [root, data('vdb', undefined)],
    cdroms: [{ target: 'sda', bus: 'sata', imageDigest: IMAGE }],
    nics: [nic],
    seedVolumeId: 'volume-seed',
  },
  kernel: {
    ...base,
    hardware: { kernel: { kernel: 'vmlinuz', initrd: 'initrd.img', commandLine: 'console=ttyS0 a=<&">' } },
  },
  drives: {
    ...base,
    hardware: { ioThreads: 2 },
    disks: [
      data('vda', { io: 'io_uring', ioThread: 1, detectZeroes: 'on', discard: 'ignore', serial: 'A 1.2+3_4' }),
      data('vdb', { cache: 'unsafe', readOnly: true }),
      data('sda', { bus: 'scsi', cache: 'directsync', io: 'native', format: 'raw' }),
      data('sdq', { bus: 'scsi', cache: 'writethrough' }),
      data('sdb', undefined),
      data('sdc', {
        bus: 'usb',
        cache: 'writeback',
        qos: { totalBytesPerSecond: 50_000_000, readOperationsPerSecond: 100, writeOperationsPerSecond: 50 },
      }),
    ],
    cdroms: [
      { target: 'sdd', bus: 'sata', imageDigest: IMAGE },
      { target: 'sde', bus: 'usb', imageDigest: IMAGE },
      { target: 'sdf', bus: 'scsi', imageDigest: undefined },
    ],
  },
  ide: {
    ...base,
    hardware: { machine: 'pc' },
    disks: [data('hda', { cache: 'writeback' }), data('hdb', undefined)],
    cdroms: [{ target: 'hdc', bus: 'ide', imageDigest: undefined }],
  },
  cards: {
    ...base,
    nics: [
      { ...nic, options: { linkDown: true, mtu: 9000, queues: 4 } },
      { mac: '52:54:00:0a:0b:0d', bridge: 'br0', model: 'e1000' },
      { mac: '52:54:00:0a:0b:0e', bridge: 'br0', model: 'rtl8139' },
      { mac: '52:54:00:0a:0b:0f', bridge: 'br0', model: 'e1000e' },
    ],
  },
  bandwidth: {
    ...base,
    nics: [{ ...nic, options: { inbound: EVERY_NIC_OPTION.inbound, outbound: EVERY_NIC_OPTION.outbound } }],
  },
  screens: {
    ...base,
    hardware: {
      graphics: [
        { type: 'vnc', listen: '127.0.0.1', port: 5942, password: 'foobar', keymap: 'de' },
        { type: 'spice', listen: '127.0.0.1' },
      ],
      video: { model: 'qxl', vramBytes: 32 * MIB, heads: 2 },
      sound: { model: 'ich9' },
      usbTablet: true,
    },
  },
  'no-screen': {
    ...base,
    hardware: {
      ...{ graphics: [{ type: 'none' }], video: { model: 'none' }, guestAgent: false, usbController: 'none' },
      ...{ rng: { model: 'none' }, balloon: { model: 'none' } },
    },
  },
  devices: {
    ...base,
    hardware: {
      ...{ serialPorts: 4, watchdog: { model: 'i6300esb', action: 'pause' }, rng: { source: '/dev/random' } },
      ...{ usbController: 'nec-xhci', sound: { model: 'usb' }, video: { model: 'virtio', heads: 2 } },
    },
  },
  'host-devices': {
    ...base,
    hardware: { hostDevices: [{ pci: '0000:03:00.0' }, { usb: '046d:c52b' }] },
  },
  windows: {
    ...base,
    hardware: {
      hyperv: true,
      clock: { offset: 'localtime' },
      lifecycle: { onReboot: 'destroy', onCrash: 'preserve' },
    },
    cdroms: [{ target: 'sda', bus: 'sata', imageDigest: undefined }],
  },
  zone: { ...base, hardware: { machine: 'pc', clock: { offset: 'timezone', timezone: 'Europe/Zurich' } } },
};

/** All files of these definitions as the disk driver would list them. */
export function volumesOf(s: DomainSpec): ReadonlyMap<string, VolumeSeen> {
  const ids = [...s.disks.map((d) => d.volumeId), ...(s.seedVolumeId ? [s.seedVolumeId] : [])];
  return new Map(
    ids.map((volumeId) => {
      const seed = volumeId === s.seedVolumeId;
      const format = host.volumeFormat(volumeId);
      const seen = { volumeId, vmId: s.vmId, seed, sizeBytes: MIB, allocatedBytes: 0, imageDigest: undefined };
      return [host.volumePath(volumeId, seed), format === 'raw' ? { ...seen, format } : seen];
    }),
  );
}
export const images: ReadonlyMap<string, string> = new Map([[host.mediumPath(IMAGE), IMAGE]]);
