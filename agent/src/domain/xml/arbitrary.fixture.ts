/** Specs of all kinds that a host can be asked for, in the form in which they are read back: no default is spelt out. */
import fc from 'fast-check';
import type { DiskOptions, Hardware, NicOptions } from '@berth/shared/hardware/schema.ts';
import type { DomainSpec } from '../spec.ts';
import { IMAGE } from './themes.fixture.ts';

const MIB = 2 ** 20;
const maybe = <T>(a: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(a, { nil: undefined });

/** An object with some of these fields; undefined when it has none of them. */
const some = <T extends object>(fields: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T> | undefined> =>
  fc.record(fields, { requiredKeys: [] }).map((o) => {
    const said = Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined));
    return Object.keys(said).length === 0 ? undefined : (said as Partial<T>);
  });

const word = fc.stringMatching(/^[a-z][a-z0-9_.]{0,10}$/);
const text = fc.string({ minLength: 1, maxLength: 30 }).filter((s) => s === s.trim() && s !== '');
const yes = fc.constant(true as const);
const pci = fc
  .tuple(fc.nat(255), fc.nat(31), fc.nat(7))
  .map(([bus, slot, fn]) => `0000:${hex(bus)}:${hex(slot)}.${fn}`);
const hex = (n: number): string => n.toString(16).padStart(2, '0');
const memory = fc.integer({ min: 16, max: 4096 }).map((n) => n * MIB);
const perSecond = fc.integer({ min: 1, max: 10 ** 9 });

const cpu: fc.Arbitrary<Hardware['cpu']> = fc
  .tuple(
    fc.oneof(
      fc.constant({}),
      fc.constantFrom({ mode: 'host-passthrough' as const }, { mode: 'maximum' as const }),
      word.map((model) => ({ mode: 'custom' as const, model })),
    ),
    some<NonNullable<Hardware['cpu']>>({
      features: fc.uniqueArray(
        fc.tuple(word, maybe(fc.constantFrom('force' as const, 'disable' as const))).map(([name, policy]) => ({
          name,
          ...(policy && { policy }),
        })),
        { minLength: 1, maxLength: 3, selector: (f) => f.name },
      ),
      emulatorCpus: fc.constantFrom('0', '0-3', '1,3-5'),
    }),
  )
  .map(([mode, more]) => ({ ...mode, ...more }))
  .map((c) => (Object.keys(c).length === 0 ? undefined : c));

const graphics: fc.Arbitrary<Hardware['graphics']> = fc
  .tuple(
    maybe(some({ listen: fc.constantFrom('0.0.0.0', '::1'), password: word.map((w) => w.slice(0, 8)), keymap: word })),
    maybe(some({ listen: fc.constant('127.0.0.1'), password: text })),
    maybe(fc.integer({ min: 5900, max: 65_535 })),
    fc.boolean(),
  )
  .map(([vnc, spice, port, both]) => {
    const ported = vnc?.listen !== undefined && port !== undefined ? { ...vnc, port } : (vnc ?? {});
    if (both)
      return [
        { type: 'vnc' as const, ...ported },
        { type: 'spice' as const, ...spice },
      ];
    if (spice !== undefined) return [{ type: 'spice' as const, ...spice }];
    return Object.keys(ported).length === 0 ? [{ type: 'none' as const }] : [{ type: 'vnc' as const, ...ported }];
  });

const hardware = some<Hardware>({
  cpu,
  memoryBacking: some<NonNullable<Hardware['memoryBacking']>>({ locked: yes, mergeable: fc.constant(false) }),
  machine: fc.constantFrom('pc', 'pc-q35-7.2', 'pc-i440fx-6.0'),
  firmware: fc.constant({ type: 'uefi' as const }),
  tpm: fc.constantFrom({}, { version: '1.2' as const, model: 'tpm-tis' as const }, { model: 'tpm-tis' as const }),
  boot: some<NonNullable<Hardware['boot']>>({ menu: yes }),
  kernel: fc.record({ kernel: word, initrd: word, commandLine: text }),
  clock: fc.constantFrom({ offset: 'localtime' as const }, { offset: 'timezone' as const, timezone: 'Europe/Zurich' }),
  lifecycle: some<NonNullable<Hardware['lifecycle']>>({
    onReboot: fc.constant('destroy'),
    onCrash: fc.constantFrom('restart', 'preserve', 'coredump-destroy'),
  }),
  watchdog: fc.constantFrom({ model: 'i6300esb' as const }, { model: 'ib700' as const, action: 'pause' as const }),
  rng: fc.constantFrom({ model: 'none' as const }, { source: '/dev/random' as const }),
  balloon: fc.oneof(
    fc.constant({ model: 'none' as const }),
    some<NonNullable<Hardware['balloon']>>({ freePageReporting: yes, pciAddress: pci }),
  ),
  video: fc.oneof(
    fc.constantFrom({ model: 'none' as const }, { model: 'virtio' as const, heads: 3 }, { model: 'ramfb' as const }),
    some<NonNullable<Hardware['video']>>({
      model: fc.constantFrom('cirrus', 'bochs', 'vmvga', 'qxl'),
      vramBytes: fc.integer({ min: 1, max: 15 }).map((n) => n * MIB),
      pciAddress: pci,
    }),
  ),
  sound: fc.oneof(
    fc.constant({ model: 'usb' as const }),
    fc.record({ model: fc.constantFrom('ich6' as const, 'ac97' as const), pciAddress: pci }),
  ),
  serialPorts: fc.integer({ min: 2, max: 4 }),
  usbTablet: yes,
  usbController: fc.constantFrom('nec-xhci', 'ich9-ehci1'),
  guestAgent: fc.constant(false),
  graphics,
  hostDevices: fc.constantFrom([{ pci: '0000:03:00.0' }], [{ usb: '046d:c52b' }, { pci: '0001:af:1f.7' }]),
  ioThreads: fc.integer({ min: 1, max: 64 }),
  pae: yes,
  hyperv: yes,
});

const LETTERS = [...'abcdefghijklmnopqrstuvwxy'];
const diskOptions = (bus: string | undefined, ioThreads: number): fc.Arbitrary<DiskOptions | undefined> =>
  some<DiskOptions>({
    cache: fc.constantFrom('writethrough', 'directsync', 'unsafe'),
    io: fc.constant('io_uring'),
    discard: fc.constant('ignore'),
    detectZeroes: fc.constantFrom('on', 'unmap'),
    serial: fc.stringMatching(/^[A-Za-z0-9]{1,20}$/),
    readOnly: yes,
    qos: some<NonNullable<DiskOptions['qos']>>({
      totalBytesPerSecond: perSecond,
      readOperationsPerSecond: perSecond,
      writeOperationsPerSecond: perSecond,
    }),
    ...(bus === undefined && { pciAddress: pci }),
    ...(bus === undefined && ioThreads > 0 && { ioThread: fc.integer({ min: 1, max: ioThreads }) }),
  });

const disks = (ioThreads: number): fc.Arbitrary<DomainSpec['disks']> =>
  fc
    .uniqueArray(
      fc.tuple(fc.constantFrom(undefined, 'scsi' as const, 'usb' as const), fc.constantFrom(...LETTERS), fc.boolean()),
      {
        maxLength: 4,
        selector: ([, letter]) => letter,
      },
    )
    .chain((places) =>
      fc.tuple(
        ...places.map(([bus, letter, raw]) =>
          diskOptions(bus, ioThreads).map((o) => {
            const options = { ...(bus && { bus }), ...o, ...(raw && { format: 'raw' as const }) };
            const target = `${bus === undefined ? 'vd' : 'sd'}${letter}`;
            const volumeId = `volume-${target}${raw ? '-raw' : ''}`;
            return { target, volumeId, ...(Object.keys(options).length > 0 && { options }) };
          }),
        ),
      ),
    );

const qos = fc
  .integer({ min: 2, max: 10 ** 6 })
  .map((n) => ({ averageBytesPerSecond: n * 1000, burstBytes: n * 1024 }));
const nicOptions = some<NicOptions>({
  inbound: qos,
  outbound: qos,
  linkDown: yes,
  mtu: fc.integer({ min: 68, max: 65_535 }),
  queues: fc.integer({ min: 2, max: 16 }),
  pciAddress: pci,
});
const nics: fc.Arbitrary<DomainSpec['nics']> = fc.uniqueArray(
  fc.tuple(fc.nat(255), nicOptions).map(([n, options]) => ({
    ...{ mac: `52:54:00:00:00:${hex(n)}`, bridge: 'br0', model: 'virtio' },
    ...(options && { options }),
  })),
  { maxLength: 3, selector: (n) => n.mac },
);
const cdroms = fc.constantFrom<DomainSpec['cdroms']>(
  undefined,
  [{ target: 'sdy', bus: 'sata', imageDigest: IMAGE }],
  [{ target: 'sdx', bus: 'scsi', imageDigest: undefined }],
);

type Kind = 'disk' | 'cdrom' | 'network';
const orders: fc.Arbitrary<readonly Kind[]> = fc.shuffledSubarray<Kind>(['disk', 'cdrom', 'network']);

export const arbitrarySpec: fc.Arbitrary<DomainSpec> = hardware
  .chain((h) =>
    fc.tuple(fc.constant(h), disks(h?.ioThreads ?? 0), nics, cdroms, memory, fc.integer({ min: 1, max: 64 }), orders),
  )
  .map(([h, d, n, c, memoryBytes, vcpus, order]) => {
    const taken = d.some((x) => ['sdx', 'sdy'].includes(x.target));
    const drives = taken ? undefined : c;
    const has = { disk: d.length > 0, cdrom: drives !== undefined, network: n.length > 0 };
    const real = order.filter((k) => has[k]);
    const ordered = real.length === 0 || real.join() === 'disk' ? undefined : real;
    const boot = ordered || h?.boot ? { boot: { ...h?.boot, ...(ordered && { order: ordered }) } } : {};
    const all = { ...h, ...boot };
    return {
      ...{ vmId: 'vm-web', uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10', name: 'web', generation: 3 },
      ...{ vcpus, memoryBytes, disks: d, nics: n, seedVolumeId: undefined },
      ...(Object.keys(all).length > 0 && { hardware: all }),
      ...(drives && { cdroms: drives }),
    };
  });
