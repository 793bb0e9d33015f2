/** What a host can't give is told before libvirt is asked: with the VM, what is missing, and how to get it. */
import { mkdtemp, chmod, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { MachineAbilities } from '../../drivers/hypervisor.ts';
import { portsIn, whyNotBootable } from '../../drivers/linux/means.ts';
import type { DomainSpec } from '../spec.ts';
import { domainXml } from '../xml/definition.ts';
import { host as xmlHost, THEMES } from '../xml/themes.fixture.ts';
import { MeansCheck } from './means-check.ts';

const MIB = 2 ** 20;
const pci = (address: string, over: object = {}) => ({
  ...{ address, classId: '020000', className: '', vendorId: '', deviceId: '', vendor: '', device: '', driver: 'ixgbe' },
  ...{ iommuGroup: 1, numaNode: 0, physicalFunction: '', virtualFunctions: 0, ...over },
});
const inventory: Inventory = {
  cpu: { model: '', sockets: 1, cores: 2, threads: 4 },
  numa: [{ id: 0, cpus: '0-3', memoryBytes: 0, freeBytes: 0, distances: [10] }],
  nics: [
    {
      ...{ name: 'eth0', mac: '', kind: 'physical', link: 'up', speedMbps: 0, driver: '', mtu: 1500 },
      pciAddress: '0000:04:00.0',
    },
  ],
  disks: [],
  pci: [
    pci('0000:03:00.0'),
    pci('0000:04:00.0'),
    pci('0000:05:00.0', { classId: '010802', driver: 'nvme' }),
    pci('0000:06:00.0', { iommuGroup: undefined }),
  ],
  usb: [{ bus: 1, device: 1, vendorId: '046d', productId: 'c52b', vendor: '', product: '', serial: '', speedMbps: 12 }],
};
const full: MachineAbilities = {
  ...{ firmwares: ['bios', 'efi'], secureBoot: true, tpms: ['emulator'], cpuModels: ['Westmere'] },
  ...{ graphics: ['vnc', 'spice'], videos: ['vga', 'qxl'] },
};

let abilities: MachineAbilities | undefined;
let running: Record<string, string>;
let storedXml: string;
let listening: number[];
let domainType: 'kvm' | 'qemu';

beforeEach(() => {
  [abilities, running, storedXml, listening, domainType] = [full, {}, '', [], 'kvm'];
});

const check = new MeansCheck({
  hypervisor: {
    info: async () => ({
      ...{ libvirtVersion: '9.0.0', qemuVersion: '', emulatorPath: '', cpuModel: '' },
      domainTypes: [],
    }),
    list: async () =>
      Object.keys(running).map((name) => ({
        ...{ uuid: name, name, power: 'running', reason: 'booted', persistent: true },
        ...{ metadataXml: undefined, memoryBytes: 0, vcpus: 1 },
      })),
    machineAbilities: async () => {
      if (abilities === undefined) throw new ClusterError('INVALID_ARGUMENT', 'no such machine');
      return abilities;
    },
    getXml: async () => storedXml,
    getRunningXml: async (uuid) => running[uuid] ?? '',
  },
  means: {
    inventory: async () => inventory,
    hugePages: async () => [{ sizeBytes: 2 * MIB, total: 10, free: 4 }],
    listeningPorts: async () => new Set(listening),
    whyNotBootable: async (path) => (path.endsWith('vmlinuz') ? undefined : 'is not there'),
  },
  abilities: async () => ({ domainType }),
  hostName: 'h1',
  bootDir: '/var/lib/berth/boot',
});
const spec = (hardware: Hardware): DomainSpec => ({ ...THEMES['zone']!, hardware });
const words = (e: unknown): string => (e instanceof Error ? e.message : '');
const define = (hardware: Hardware) => check.beforeDefine(spec(hardware)).then(() => '', words);
const start = (hardware: Hardware, memoryBytes = 128 * MIB) => {
  storedXml = domainXml({ ...spec(hardware), memoryBytes }, { ...xmlHost, domainType });
  return check.beforeStart('6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10').then(() => '', words);
};

describe('a host that lacks something', () => {
  it.each<[Hardware, Partial<MachineAbilities>, string]>([
    [
      { firmware: { type: 'uefi' } },
      { firmwares: ['bios'] },
      'vm web boots by UEFI, and h1 has no such firmware for machine q35: install it there (Debian: ovmf',
    ],
    [
      { firmware: { type: 'uefi', secureBoot: true } },
      { secureBoot: false },
      'vm web asks for Secure Boot, and h1 has no firmware',
    ],
    [
      { tpm: {} },
      { tpms: ['passthrough'] },
      'vm web has a TPM, and h1 cannot emulate one: install swtpm there (Debian: swtpm and swtpm-tools',
    ],
    [{ cpu: { mode: 'custom', model: 'Vax' } }, {}, 'vm web asks for CPU Vax, which libvirt on h1 does not know'],
    [
      { graphics: [{ type: 'spice' }] },
      { graphics: ['vnc'] },
      'vm web asks for SPICE, which QEMU on h1 was made without',
    ],
    [
      { video: { model: 'cirrus' } },
      {},
      'vm web asks for video card cirrus, which QEMU on h1 does not have: choose one of vga, qxl',
    ],
    [
      { cpu: { pinning: [{ vcpu: 0, cpus: '2-5' }] } },
      {},
      'vm web is pinned to CPU 4, 5, and h1 has 4 CPUs (the last is 3)',
    ],
    [{ cpu: { emulatorCpus: '9' } }, {}, 'vm web is pinned to CPU 9'],
    [
      { cpu: { numa: [{ cpus: '0', memoryBytes: 128 * MIB, hostNodes: '0-1' }] } },
      {},
      'vm web takes memory from NUMA node 1, and h1 has 1',
    ],
    [{ hostDevices: [{ usb: '1234:5678' }] }, {}, 'vm web asks for USB device 1234:5678, which is not plugged into h1'],
    [{ hostDevices: [{ pci: '07:00.0' }] }, {}, 'vm web asks for PCI device 0000:07:00.0, which h1 does not have'],
    [{ hostDevices: [{ pci: '0000:06:00.0' }] }, {}, 'and h1 has no IOMMU that would keep it apart: switch on VT-d'],
    [{ hostDevices: [{ pci: '0000:04:00.0' }] }, {}, 'which is the network card eth0, whose link is up, of h1 itself'],
    [{ hostDevices: [{ pci: '0000:05:00.0' }] }, {}, 'which is storage (driver nvme) of h1 itself'],
    [
      { kernel: { kernel: 'vmlinuz', initrd: 'other' } },
      {},
      'vm web boots /var/lib/berth/boot/other of h1, which is not there',
    ],
  ])('says so before it defines: %j', async (hardware, over, said) => {
    abilities = { ...full, ...over };
    expect(await define(hardware)).toContain(said);
    expect(await start(hardware)).toContain(said);
  });

  it('says so of a watchdog that its libvirt can not set', async () =>
    expect(await define({ watchdog: { model: 'itco' } })).toBe(
      'vm web asks for watchdog itco, which libvirt 9.0.0 on h1 cannot set (9.1 can): choose i6300esb',
    ));

  it('says so of a machine that it has not, and of a CPU that needs KVM', async () => {
    domainType = 'qemu';
    expect(await define({ cpu: { mode: 'host-passthrough' } })).toMatch(/needs KVM, and h1 only emulates/);
    abilities = undefined;
    expect(await define({ machine: 'pc-q35-99.0' })).toBe(
      'vm web asks for machine pc-q35-99.0, which QEMU on h1 does not have: choose q35 or pc, or upgrade QEMU there',
    );
  });

  it('tells all that it lacks at once, and nothing where it lacks nothing', async () => {
    abilities = { ...full, firmwares: [], tpms: [] };
    expect((await define({ firmware: { type: 'uefi' }, tpm: {} })).split('\n')).toHaveLength(2);
    abilities = full;
    const all: Hardware = {
      ...{ firmware: { type: 'uefi', secureBoot: true }, tpm: {}, kernel: { kernel: 'vmlinuz' } },
      ...{ cpu: { mode: 'custom', model: 'Westmere' }, hostDevices: [{ pci: '0000:03:00.0' }, { usb: '046d:c52b' }] },
    };
    expect(await define(all)).toBe('');
    expect(await start(all)).toBe('');
  });
});

describe('a start', () => {
  it('needs its huge pages free, and says how to get them', async () => {
    const hardware: Hardware = { memoryBacking: { hugepageBytes: 2 * MIB } };
    expect(await define(hardware)).toBe('');
    expect(await start(hardware, 32 * MIB)).toBe(
      'vm web needs 16 huge pages of 2 MiB, and h1 has 4 free of 10: reserve more there (sysctl vm.nr_hugepages=22)',
    );
    expect(await start({ memoryBacking: { hugepageBytes: 2 ** 30 } }, 2 ** 30)).toMatch(/hugepagesz=1G hugepages=1 on/);
    expect(await start(hardware, 8 * MIB)).toBe('');
  });

  it('takes no device and no port that another guest has', async () => {
    running['db'] = domainXml(
      spec({ hostDevices: [{ pci: '0000:03:00.0' }], graphics: [{ type: 'vnc', listen: '0.0.0.0', port: 5910 }] }),
      xmlHost,
    );
    expect(await start({ hostDevices: [{ pci: '0000:03:00.0' }] })).toBe(
      'vm web asks for PCI device 0000:03:00.0, which vm db has now',
    );
    const port = (n: number): Hardware => ({ graphics: [{ type: 'vnc', listen: '0.0.0.0', port: n }] });
    expect(await start(port(5910))).toMatch(/by vnc on port 5910, which vm db on h1 uses: choose another, or none/);
    listening = [5911];
    expect(await start(port(5911))).toMatch(/which another program on h1 uses/);
    expect(await start(port(5912))).toBe('');
  });

  it('that failed because another guest has the disk says which', async () => {
    const disks = THEMES['boot']!;
    storedXml = domainXml(disks, xmlHost);
    const cause = badState('libvirt could not start domain web: Failed to get "write" lock');
    const said = async () => words(await check.explain({ name: 'web', uuid: 'x' }, cause));
    expect(await said()).toMatch(/^vm web cannot start: a disk of it is in use by another program on h1/);
    running['other'] = domainXml({ ...disks, disks: disks.disks.slice(1) }, xmlHost);
    expect(await said()).toBe(
      'vm web cannot start: /var/lib/berth/volumes/volume-vdb.qcow2 is in use by other, another guest on h1. Stop that first',
    );
    const tc = badState('libvirt could not start domain web: Child process (tc qdisc add dev vnet0) exit status 2');
    expect(words(await check.explain({ name: 'web', uuid: 'x' }, tc))).toMatch(
      /kernel of h1 cannot do .* take the limit away/,
    );
    const other = badState('libvirt could not start domain web: boom');
    expect(await check.explain({ name: 'web', uuid: 'x' }, other)).toBe(other);
  });
});

it('a kernel must be a regular file of root alone', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'berth-boot-'));
  const file = join(dir, 'vmlinuz');
  await writeFile(file, 'x', { mode: 0o644 });
  await symlink(file, join(dir, 'link'));
  const root = process.getuid?.() === 0;
  expect(await whyNotBootable(file)).toBe(root ? undefined : 'does not belong to root');
  expect(await whyNotBootable(join(dir, 'link'))).toBe('is no regular file');
  expect(await whyNotBootable(dir)).toBe('is no regular file');
  expect(await whyNotBootable(join(dir, 'none'))).toBe('is not there');
  await chmod(file, 0o666);
  expect(await whyNotBootable(file)).toMatch(root ? 'may be written by others than root' : 'root');
  await rm(dir, { recursive: true });
});

it('ports that somebody listens on are read from the tables of the kernel', () =>
  expect([
    ...portsIn(`  sl  local_address rem_address   st
   0: 0100007F:170C 00000000:0000 0A 00000000:00000000
   1: 0100007F:170D 0100007F:1234 01 00000000:00000000
   2: 00000000000000000000000000000000:1770 00000000000000000000000000000000:0000 0A 0`),
  ]).toEqual([5900, 6000]));
