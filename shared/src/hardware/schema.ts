/**
 * The typed definition of a virtual machine's hardware: one schema, from which its TypeScript types and the checks of
 * controller, agent and command line come. Fields and words are those of proto/berth/v1/hardware.proto, which says what
 * each means; absent means the default. What must fit together across fields is check.ts.
 */
import { isIP } from 'node:net';
import * as z from 'zod';
import { bytes, cpuset, line, memory, MOST_VCPUS, oneOf, pciAddress, rate, usbId, whole, word } from './values.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const cpu = z.strictObject({
  mode: oneOf(['host-model', 'host-passthrough', 'maximum', 'custom']).optional(),
  model: word().optional(),
  features: z
    .array(
      z.strictObject({
        name: word(),
        policy: oneOf(['require', 'force', 'optional', 'disable', 'forbid']).optional(),
      }),
    )
    .max(200)
    .optional(),
  topology: z
    .strictObject({
      sockets: whole(1, MOST_VCPUS),
      dies: whole(1, MOST_VCPUS).optional(),
      cores: whole(1, MOST_VCPUS),
      threads: whole(1, 64),
    })
    .optional(),
  pinning: z
    .array(z.strictObject({ vcpu: whole(0, MOST_VCPUS - 1), cpus: cpuset }))
    .max(MOST_VCPUS)
    .optional(),
  emulatorCpus: cpuset.optional(),
  numa: z
    .array(z.strictObject({ cpus: cpuset, memoryBytes: memory, hostNodes: cpuset.optional() }))
    .max(64)
    .optional(),
});

const BOOT_DEVICES = ['disk', 'cdrom', 'network'] as const;

/** A file of the host's boot directory: never a path. */
const bootFile = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+~-]{0,200}$/, "must be the name of a file in the host's boot directory, not a path");

const graphics = z.strictObject({
  type: oneOf(['vnc', 'spice', 'none']),
  listen: z
    .string()
    .refine((s) => isIP(s) !== 0, 'must be an IP address')
    .optional(),
  port: whole(5900, 65_535).optional(),
  password: line(64).optional(),
  keymap: word(16).optional(),
});

const hostDevice = z.union(
  [z.strictObject({ pci: pciAddress }), z.strictObject({ usb: usbId })],
  'must be either pci: ADDRESS (0000:03:00.0) or usb: VENDOR:PRODUCT (046d:c52b)',
);

export const hardwareSchema = z.strictObject({
  maxVcpus: whole(1, MOST_VCPUS).optional(),
  maxMemoryBytes: memory.optional(),
  cpu: cpu.optional(),
  memoryBacking: z
    .strictObject({
      hugepageBytes: z.union([z.literal(2 * MIB), z.literal(GIB)], 'must be 2MiB or 1GiB').optional(),
      locked: z.boolean().optional(),
      mergeable: z.boolean().optional(),
    })
    .optional(),
  machine: z
    .string()
    .regex(/^(q35|pc|pc-(q35|i440fx)-[a-z0-9.-]{1,30})$/, 'must be q35, pc, or a versioned name like pc-q35-7.2')
    .optional(),
  firmware: z.strictObject({ type: oneOf(['bios', 'uefi']), secureBoot: z.boolean().optional() }).optional(),
  tpm: z
    .strictObject({ version: oneOf(['2.0', '1.2']).optional(), model: oneOf(['tpm-crb', 'tpm-tis']).optional() })
    .optional(),
  boot: z
    .strictObject({
      order: z.array(oneOf(BOOT_DEVICES)).max(3).optional(),
      menu: z.boolean().optional(),
      menuTimeoutMs: whole(0, 65_535).optional(),
    })
    .optional(),
  kernel: z
    .strictObject({ kernel: bootFile, initrd: bootFile.optional(), commandLine: line(2047).optional() })
    .optional(),
  clock: z
    .strictObject({
      offset: oneOf(['utc', 'localtime', 'timezone']).optional(),
      timezone: z
        .string()
        .regex(/^[A-Za-z0-9_+-]+(\/[A-Za-z0-9_+-]+){0,3}$/, 'must be a time zone like Europe/Zurich')
        .max(64)
        .optional(),
    })
    .optional(),
  lifecycle: z
    .strictObject({
      onPoweroff: oneOf(['destroy', 'restart']).optional(),
      onReboot: oneOf(['restart', 'destroy']).optional(),
      onCrash: oneOf(['destroy', 'restart', 'preserve', 'coredump-destroy', 'coredump-restart']).optional(),
    })
    .optional(),
  watchdog: z
    .strictObject({
      model: oneOf(['itco', 'i6300esb', 'ib700']),
      action: oneOf(['reset', 'shutdown', 'poweroff', 'pause', 'dump', 'inject-nmi', 'none']).optional(),
    })
    .optional(),
  rng: z
    .strictObject({
      model: oneOf(['virtio', 'none']).optional(),
      source: oneOf(['/dev/urandom', '/dev/random']).optional(),
    })
    .optional(),
  balloon: z
    .strictObject({
      model: oneOf(['virtio', 'none']).optional(),
      freePageReporting: z.boolean().optional(),
      pciAddress: pciAddress.optional(),
    })
    .optional(),
  video: z
    .strictObject({
      model: oneOf(['vga', 'virtio', 'qxl', 'cirrus', 'bochs', 'vmvga', 'ramfb', 'none']).optional(),
      vramBytes: bytes(MIB, 512 * MIB, 1024).optional(),
      heads: whole(1, 16).optional(),
      pciAddress: pciAddress.optional(),
    })
    .optional(),
  sound: z
    .strictObject({
      model: oneOf(['ich6', 'ich9', 'ac97', 'es1370', 'sb16', 'usb']),
      pciAddress: pciAddress.optional(),
    })
    .optional(),
  serialPorts: whole(1, 4).optional(),
  usbTablet: z.boolean().optional(),
  usbController: oneOf(['qemu-xhci', 'nec-xhci', 'ich9-ehci1', 'piix3-uhci', 'none']).optional(),
  guestAgent: z.boolean().optional(),
  graphics: z.array(graphics).max(2).optional(),
  hostDevices: z.array(hostDevice).max(32).optional(),
  ioThreads: whole(0, 64).optional(),
  pae: z.boolean().optional(),
  hyperv: z.boolean().optional(),
});

const MOST_BYTES_PER_SECOND = 10 ** 12;
const perSecond = rate(MOST_BYTES_PER_SECOND).optional();
const operationsPerSecond = rate(10 ** 9).optional();

export const diskOptionsSchema = z.strictObject({
  bus: oneOf(['virtio', 'scsi', 'sata', 'ide', 'usb']).optional(),
  cache: oneOf(['none', 'writeback', 'writethrough', 'directsync', 'unsafe']).optional(),
  io: oneOf(['threads', 'native', 'io_uring']).optional(),
  discard: oneOf(['unmap', 'ignore']).optional(),
  detectZeroes: oneOf(['off', 'on', 'unmap']).optional(),
  serial: z
    .string()
    .regex(/^[A-Za-z0-9_.+ -]{1,20}$/, 'must be 1 to 20 letters, digits, blanks, _, ., + or -')
    .optional(),
  readOnly: z.boolean().optional(),
  ioThread: whole(1, 64).optional(),
  qos: z
    .strictObject({
      totalBytesPerSecond: perSecond,
      readBytesPerSecond: perSecond,
      writeBytesPerSecond: perSecond,
      totalOperationsPerSecond: operationsPerSecond,
      readOperationsPerSecond: operationsPerSecond,
      writeOperationsPerSecond: operationsPerSecond,
    })
    .optional(),
  pciAddress: pciAddress.optional(),
  format: oneOf(['qcow2', 'raw']).optional(),
});

const nicQos = z
  .strictObject({
    averageBytesPerSecond: bytes(1024, MOST_BYTES_PER_SECOND),
    peakBytesPerSecond: bytes(1024, MOST_BYTES_PER_SECOND).optional(),
    burstBytes: bytes(1024, 2 ** 31).optional(),
  })
  .optional();

export const nicOptionsSchema = z.strictObject({
  inbound: nicQos,
  outbound: nicQos,
  linkDown: z.boolean().optional(),
  mtu: whole(68, 65_535).optional(),
  queues: whole(1, 16).optional(),
  pciAddress: pciAddress.optional(),
});

/** Readonly all the way down: specs are values. */
export type Frozen<T> = T extends readonly (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T;

export type Hardware = Frozen<z.output<typeof hardwareSchema>>;
export type DiskOptions = Frozen<z.output<typeof diskOptionsSchema>>;
export type NicOptions = Frozen<z.output<typeof nicOptionsSchema>>;
export type DiskBus = NonNullable<DiskOptions['bus']>;

export const CDROM_BUSES = ['sata', 'ide', 'scsi', 'usb'] as const;
export type CdromBus = (typeof CDROM_BUSES)[number];

export const NIC_MODELS = ['virtio', 'e1000', 'e1000e', 'rtl8139'] as const;
