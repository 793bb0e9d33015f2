/** Hardware as the kernel shows it, on a root made for the test: a server with two sockets, and machines that lack almost everything. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeRoot } from '../../../testing/fake-root.ts';
import { RootFiles } from '../root-files.ts';
import { readInventory } from './inventory.ts';

let root: FakeRoot;
beforeEach(async () => {
  root = await FakeRoot.make();
});
afterEach(() => root.remove());

const read = () => readInventory(new RootFiles(root.dir));
const PCI = '/sys/devices/pci0000:3a';

async function processors(): Promise<void> {
  await root.put({ '/proc/cpuinfo': 'processor\t: 0\nmodel name\t: AMD  EPYC 7302 16-Core\n' });
  for (let cpu = 0; cpu < 8; cpu++)
    await root.putIn(`/sys/devices/system/cpu/cpu${cpu}/topology`, {
      physical_package_id: String(cpu >> 2),
      die_id: '0',
      core_id: String((cpu >> 1) & 1),
    });
  // offline: no topology
  await root.putIn('/sys/devices/system/cpu/cpu8', { online: '0' });
  await root.putIn('/sys/devices/system/cpu', { online: '0-7', kernel_max: '8191' });
  for (const node of [0, 1])
    await root.putIn(`/sys/devices/system/node/node${node}`, {
      cpulist: node === 0 ? '0-3' : '4-7',
      distance: node === 0 ? '10 21' : '21 10',
      meminfo: `\nNode ${node} MemTotal:       16777216 kB\nNode ${node} MemFree:         8388608 kB\n`,
    });
}

async function cards(): Promise<void> {
  const port = `${PCI}/0000:3a:00.0/0000:3b:00.0`;
  await root.putIn(port, {
    vendor: '0x15B3',
    device: '0x1017',
    class: '0x020000',
    numa_node: '1',
    sriov_totalvfs: '8',
    driver: '-> ../../../../bus/pci/drivers/mlx5_core',
    iommu_group: '-> ../../../../kernel/iommu_groups/42',
  });
  await root.putIn(`${PCI}/0000:3a:00.0/0000:3b:00.2`, {
    vendor: '0x15b3',
    device: '0x1018',
    class: '0x020000',
    numa_node: '-1',
    physfn: '-> ../0000:3b:00.0',
  });
  await root.put({
    '/sys/bus/pci/devices/0000:3b:00.0': `-> ${port}`,
    '/sys/bus/pci/devices/0000:3b:00.2': `-> ${PCI}/0000:3a:00.0/0000:3b:00.2`,
    '/usr/share/misc/pci.ids': PCI_IDS,
  });
  const nic = (name: string, files: Record<string, string>) =>
    root.putIn(`/sys/class/net/${name}`, { mtu: '1500', ...files });
  await nic('ens1', {
    address: '0c:42:a1:00:00:01',
    operstate: 'up',
    carrier: '1',
    speed: '25000',
    device: `-> ${port}`,
    uevent: 'INTERFACE=ens1',
  });
  await nic('ens10', {
    address: '0c:42:a1:00:00:02',
    operstate: 'down',
    carrier: '0',
    speed: '-1',
    device: `-> ${port}`,
  });
  await nic('bond0', {
    address: '0c:42:a1:00:00:01',
    operstate: 'up',
    speed: '25000',
    uevent: 'DEVTYPE=bond\nINTERFACE=bond0',
  });
  await nic('bond0.7', { address: '0c:42:a1:00:00:01', operstate: 'up', mtu: '9000', uevent: 'DEVTYPE=vlan' });
  await nic('br0', { address: '0c:42:a1:00:00:01', operstate: 'up', uevent: 'DEVTYPE=bridge' });
  await nic('vnet0', { address: 'fe:54:00:00:00:01', operstate: 'unknown', tun_flags: '0x1002' });
  await nic('lo', { address: '00:00:00:00:00:00', operstate: 'unknown' });
  await root.put({ '/sys/class/net/bonding_masters': 'bond0\n' });
}

const PCI_IDS = `# a comment
1000  Broadcom / LSI
\t1017  Not this one
15b3  Mellanox   Technologies
\t1017  MT27800 Family [ConnectX-5]
\t\t15b3 0006  A sub-system
\t1018  MT27800 Family [ConnectX-5 Virtual Function]
C 02  Network controller
\t00  Ethernet controller
`;

async function disks(): Promise<void> {
  const disk = async (name: string, at: string, files: Record<string, string>) => {
    await root.putIn(at, { size: '2097152', removable: '0', 'queue/rotational': '0', ...files });
    await root.put({ [`/sys/block/${name}`]: `-> ${at}`, [`${at}/device/x`]: '' });
  };
  await disk('nvme0n1', `${PCI}/0000:3a:01.0/nvme/nvme0/nvme0n1`, {
    'device/model': 'SAMSUNG MZQL2960HCJR                    ',
    'device/serial': 'S64FNE0R000001',
    'queue/scheduler': '[none] mq-deadline',
  });
  await disk('sda', `${PCI}/0000:3a:02.0/ata1/host0/target0:0:0/0:0:0:0/block/sda`, {
    'device/vendor': 'ATA     ',
    'device/model': 'ST2000NM0008',
    'queue/rotational': '1',
    'queue/scheduler': 'none [mq-deadline] bfq',
  });
  await disk('sdb', `${PCI}/0000:3a:03.0/usb1/1-1/1-1:1.0/host2/block/sdb`, {
    'device/vendor': 'SanDisk ',
    'device/model': 'Ultra',
    removable: '1',
  });
  await disk('vda', `${PCI}/0000:3a:04.0/virtio1/block/vda`, { 'device/vendor': '0x1af4', serial: 'root-disk' });
  await root.putIn('/sys/devices/virtual/block/loop0', { size: '8' });
  await root.put({ '/sys/block/loop0': '-> /sys/devices/virtual/block/loop0' });
}

describe('the hardware of a server', () => {
  it('has its sockets, cores and threads counted, without those that are offline', async () => {
    await processors();
    const { cpu, numa } = await read();
    expect(cpu).toEqual({ model: 'AMD EPYC 7302 16-Core', sockets: 2, cores: 4, threads: 8 });
    expect(numa).toEqual([
      { id: 0, cpus: '0-3', memoryBytes: 16 * 2 ** 30, freeBytes: 8 * 2 ** 30, distances: [10, 21] },
      { id: 1, cpus: '4-7', memoryBytes: 16 * 2 ** 30, freeBytes: 8 * 2 ** 30, distances: [21, 10] },
    ]);
  });

  it('shows network cards before what is stacked on them, and neither bridges nor taps of guests', async () => {
    await cards();
    const { nics } = await read();
    expect(nics.map((n) => [n.name, n.kind, n.link, n.speedMbps])).toEqual([
      ['ens1', 'physical', 'up', 25_000],
      ['ens10', 'physical', 'down', 0],
      ['bond0', 'bond', 'up', 25_000],
      ['bond0.7', 'vlan', 'up', 0],
    ]);
    expect(nics[0]).toMatchObject({
      driver: 'mlx5_core',
      pciAddress: '0000:3b:00.0',
      mac: '0c:42:a1:00:00:01',
      mtu: 1500,
    });
    expect(nics[3]).toMatchObject({ driver: '', pciAddress: '', mtu: 9000 });
  });

  it('shows PCI devices with their IOMMU groups, names, nodes and virtual functions', async () => {
    await cards();
    const { pci } = await read();
    expect(pci[0]).toEqual({
      address: '0000:3b:00.0',
      classId: '020000',
      className: 'Ethernet controller',
      vendorId: '15b3',
      deviceId: '1017',
      vendor: 'Mellanox Technologies',
      device: 'MT27800 Family [ConnectX-5]',
      driver: 'mlx5_core',
      iommuGroup: 42,
      numaNode: 1,
      physicalFunction: '',
      virtualFunctions: 8,
    });
    expect(pci[1]).toMatchObject({
      physicalFunction: '0000:3b:00.0',
      iommuGroup: undefined,
      numaNode: undefined,
      driver: '',
    });
  });

  it('shows disks with what they are and how they are scheduled, and none that is made of files', async () => {
    await disks();
    const { disks: all } = await read();
    expect(all.map((d) => [d.name, d.bus, d.model, d.serial, d.scheduler])).toEqual([
      ['nvme0n1', 'nvme', 'SAMSUNG MZQL2960HCJR', 'S64FNE0R000001', 'none'],
      ['sda', 'ata', 'ST2000NM0008', '', 'mq-deadline'],
      ['sdb', 'usb', 'SanDisk Ultra', '', ''],
      ['vda', 'virtio', '', 'root-disk', ''],
    ]);
    expect(all.map((d) => [d.sizeBytes, d.rotational, d.removable])).toEqual([
      [2 ** 30, false, false],
      [2 ** 30, true, false],
      [2 ** 30, false, true],
      [2 ** 30, false, false],
    ]);
  });

  it('shows USB devices without hubs and interfaces', async () => {
    const usb = (name: string, files: Record<string, string>) => root.putIn(`/sys/bus/usb/devices/${name}`, files);
    await usb('usb1', { idVendor: '1d6b', idProduct: '0002', bDeviceClass: '09' });
    await usb('1-1.2', {
      idVendor: '0529',
      idProduct: '0001',
      bDeviceClass: 'ff',
      manufacturer: 'AKS',
      product: 'HASP HL 3.25',
      busnum: '1',
      devnum: '7',
      speed: '1.5',
    });
    await usb('1-1.2:1.0', { bInterfaceClass: 'ff' });
    expect((await read()).usb).toEqual([
      {
        bus: 1,
        device: 7,
        vendorId: '0529',
        productId: '0001',
        vendor: 'AKS',
        product: 'HASP HL 3.25',
        serial: '',
        speedMbps: 1,
      },
    ]);
  });
});

describe('the hardware of a machine that shows little', () => {
  it('is little, and no error', async () => {
    await root.put({ '/proc/cpuinfo': 'processor : 0\nprocessor : 1\n' });
    expect(await read()).toEqual({
      cpu: { model: 'unknown', sockets: 1, cores: 2, threads: 2 },
      numa: [],
      nics: [],
      disks: [],
      pci: [],
      usb: [],
    });
  });

  it('with files that hold garbage leaves out what cannot be told', async () => {
    await root.putIn('/sys/bus/pci/devices/0000:00:01.0', { vendor: 'none', class: '0x03' });
    await root.putIn('/sys/bus/pci/devices/0000:00:02.0', { vendor: '0x1234', class: '0x030000', numa_node: 'x' });
    await root.putIn('/sys/bus/pci/devices/nonsense', { vendor: '0x1234' });
    await root.putIn('/sys/devices/system/node/node0', { cpulist: '0-1; rm', meminfo: 'x', distance: 'a 10' });
    const { pci, numa } = await read();
    expect(pci).toMatchObject([
      { address: '0000:00:02.0', className: 'Display controller', vendor: '', numaNode: undefined },
    ]);
    expect(numa).toEqual([{ id: 0, cpus: '0-1', memoryBytes: 0, freeBytes: 0, distances: [10] }]);
  });

  it('of this test can be read as it is', async () => {
    const { cpu } = await readInventory(new RootFiles());
    expect(cpu.threads).toBeGreaterThan(0);
    expect(cpu.cores).toBeLessThanOrEqual(cpu.threads);
  });
});
