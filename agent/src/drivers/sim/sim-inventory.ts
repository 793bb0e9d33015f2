/** Hardware of a simulated host: one of each kind, so that what people see of it can be shown without any. */
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { SimHost } from '@berth/shared/sim/sim-host.ts';

export function simInventory({ options: o }: SimHost): Inventory {
  const ids = { vendorId: '1af4', deviceId: '1000', vendor: 'Simulated', device: 'Simulated network card' };
  return {
    cpu: { model: 'Simulated', sockets: 1, cores: Math.ceil(o.cpuThreads / 2), threads: o.cpuThreads },
    numa: [
      {
        id: 0,
        cpus: `0-${o.cpuThreads - 1}`,
        memoryBytes: o.memoryBytes,
        freeBytes: o.memoryBytes / 2,
        distances: [10],
      },
    ],
    nics: [
      {
        name: 'eth0',
        mac: '52:54:00:00:00:01',
        kind: 'physical',
        link: 'up',
        speedMbps: 10_000,
        driver: 'simulated',
        mtu: 1500,
        pciAddress: '0000:00:03.0',
      },
    ],
    disks: [
      {
        name: 'sda',
        sizeBytes: o.diskBytes,
        model: 'Simulated disk',
        serial: 'SIM1',
        bus: 'virtio',
        rotational: false,
        removable: false,
        scheduler: 'none',
      },
    ],
    pci: [
      {
        address: '0000:00:03.0',
        classId: '020000',
        className: 'Ethernet controller',
        ...ids,
        driver: 'simulated',
        iommuGroup: 1,
        numaNode: 0,
        physicalFunction: '',
        virtualFunctions: 0,
      },
    ],
    usb: [],
  };
}
