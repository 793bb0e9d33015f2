/** A definition in which every field is said, for tests that must miss none. */
import type { DiskOptions, Hardware, NicOptions } from './schema.ts';

const GIB = 2 ** 30;

export const EVERYTHING: Hardware = {
  maxVcpus: 8,
  maxMemoryBytes: 8 * GIB,
  cpu: {
    mode: 'custom',
    model: 'Skylake-Client',
    features: [{ name: 'vmx', policy: 'disable' }, { name: 'aes' }],
    topology: { sockets: 2, dies: 1, cores: 2, threads: 2 },
    pinning: [
      { vcpu: 0, cpus: '0-3,^2' },
      { vcpu: 1, cpus: '3' },
    ],
    emulatorCpus: '4',
    numa: [
      { cpus: '0-3', memoryBytes: 4 * GIB, hostNodes: '0' },
      { cpus: '4-7', memoryBytes: 4 * GIB },
    ],
  },
  memoryBacking: { hugepageBytes: 2 ** 21, locked: true, mergeable: false },
  machine: 'q35',
  firmware: { type: 'uefi', secureBoot: true },
  tpm: { version: '2.0', model: 'tpm-crb' },
  boot: { order: ['cdrom', 'disk', 'network'], menu: true, menuTimeoutMs: 3000 },
  kernel: { kernel: 'vmlinuz-6.1', initrd: 'initrd.img-6.1', commandLine: 'console=ttyS0 root=/dev/vda1' },
  clock: { offset: 'timezone', timezone: 'Europe/Zurich' },
  lifecycle: { onPoweroff: 'destroy', onReboot: 'restart', onCrash: 'coredump-restart' },
  watchdog: { model: 'i6300esb', action: 'inject-nmi' },
  rng: { model: 'virtio', source: '/dev/random' },
  balloon: { model: 'virtio', freePageReporting: true, pciAddress: '0000:00:09.0' },
  video: { model: 'qxl', vramBytes: 2 ** 26, heads: 2, pciAddress: '0000:00:02.0' },
  sound: { model: 'ich6', pciAddress: '0000:00:04.0' },
  serialPorts: 2,
  usbTablet: true,
  usbController: 'qemu-xhci',
  guestAgent: true,
  graphics: [
    { type: 'vnc', listen: '0.0.0.0', port: 5910, password: 'foobar', keymap: 'en-us' },
    { type: 'spice', listen: '::1' },
  ],
  hostDevices: [{ pci: '0000:03:00.0' }, { usb: '046d:c52b' }],
  ioThreads: 2,
  pae: true,
  hyperv: true,
};

export const EVERY_DISK_OPTION: DiskOptions = {
  bus: 'virtio',
  cache: 'none',
  io: 'native',
  discard: 'ignore',
  detectZeroes: 'unmap',
  serial: 'WD-1234',
  readOnly: true,
  ioThread: 2,
  qos: {
    readBytesPerSecond: 50_000_000,
    writeBytesPerSecond: 20_000_000,
    totalOperationsPerSecond: 1000,
  },
  pciAddress: '0000:00:05.0',
  format: 'raw',
};

export const EVERY_NIC_OPTION: NicOptions = {
  inbound: { averageBytesPerSecond: 10_000_000, peakBytesPerSecond: 20_000_000, burstBytes: 2 ** 20 },
  outbound: { averageBytesPerSecond: 5_000_000 },
  linkDown: true,
  mtu: 9000,
  queues: 4,
  pciAddress: '0000:00:03.0',
};
