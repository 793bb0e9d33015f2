import { expect, it } from 'vitest';
import { HostHardware } from '@berth/proto/v1/machine.ts';
import { hardwareLines } from './hardware.ts';

const h = HostHardware.fromPartial({
  host: 'h1',
  cpu: { model: 'EPYC', sockets: 2, cores: 32, threads: 1 },
  numa: [{ id: 0, cpus: '0-15', memoryBytes: 2n ** 34n, freeBytes: 2n ** 33n, distances: [10, 21] }],
  nics: [
    {
      name: 'ens1',
      mac: '0c:42:a1:00:00:01',
      link: 'up',
      speedMbps: 25_000,
      driver: 'mlx5_core',
      kind: 'physical',
      mtu: 1500,
    },
  ],
  disks: [
    {
      name: 'sda',
      sizeBytes: 2n ** 40n,
      rotational: true,
      removable: true,
      bus: 'usb',
      scheduler: 'bfq',
      model: 'Ultra',
    },
  ],
  pci: [
    {
      address: '0000:00:01.0',
      iommuGroup: 0,
      className: 'Bridge',
      vendorId: '8086',
      deviceId: '1572',
      vendor: 'Intel',
    },
    {
      address: '0000:00:02.0',
      classId: 'ff0000',
      vendorId: '1234',
      deviceId: '5678',
      physicalFunction: '0000:00:01.0',
    },
  ],
});

it('hardware is shown part by part, and what a host has not is left out', () => {
  expect(hardwareLines(h, false)).toEqual([
    'cpu: EPYC, 2 sockets, 32 cores, 1 thread',
    'numa nodes:',
    '  NODE  CPUS  MEMORY   FREE',
    '     0  0-15  16 GiB  8 GiB',
    'network cards:',
    '  NAME  MAC                LINK      SPEED  DRIVER     KIND',
    '  ens1  0c:42:a1:00:00:01  up    25 Gbit/s  mlx5_core  physical',
    'disks:',
    '  NAME   SIZE  KIND                 BUS  SCHEDULER  MODEL',
    '  sda   1 TiB  rotating, removable  usb  bfq        Ultra',
    'PCI devices:',
    '  ADDRESS       IOMMU GROUP  CLASS   DEVICE      DRIVER',
    '  0000:00:01.0            0  Bridge  Intel 1572  -',
    '  0000:00:02.0            -  ff0000  1234 5678   -',
  ]);
  expect(
    Math.max(
      ...hardwareLines(h, false, 50)
        .slice(1)
        .map((l) => l.length),
    ),
  ).toBeLessThanOrEqual(50);
  expect(hardwareLines(h, true).join('\n')).toMatch(/SR-IOV[^]*of 0000:00:01\.0/);
});
