/** What HostService says of the machines that hosts are. */
import type { HostServiceService } from '@berth/proto/v1/host.ts';
import type { HostHardware } from '@berth/proto/v1/machine.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { Machines } from '../app/machines.ts';
import type { Handlers } from './call.ts';
import { toWire } from './numbers.ts';

type Mine = 'checkHost' | 'readHostHardware';

export const machineHandlers = (machines: Machines): Pick<Handlers<HostServiceService>, Mine> => ({
  checkHost: async (r) => {
    const { host, checks, clockSkewMs } = await machines.check(r.host);
    return { host: host.name, checks: checks.map((c) => ({ ...c })), clockSkewMs };
  },
  readHostHardware: async (r) => {
    const { host, inventory } = await machines.inventory(r.host);
    return toHardware(host.name, inventory);
  },
});

function toHardware(host: string, i: Inventory): HostHardware {
  return {
    host,
    cpu: { ...i.cpu },
    numa: i.numa.map((n) => ({
      ...n,
      memoryBytes: toWire(n.memoryBytes),
      freeBytes: toWire(n.freeBytes),
      distances: [...n.distances],
    })),
    nics: i.nics.map((n) => ({ ...n })),
    disks: i.disks.map((d) => ({ ...d, sizeBytes: toWire(d.sizeBytes) })),
    pci: i.pci.map((d) => ({ ...d })),
    usb: i.usb.map((d) => ({ ...d })),
  };
}
