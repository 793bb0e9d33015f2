/** The hardware of the machine, from our own types to the wire. */
import type { Hardware } from '@berth/proto/agent/v1/machine.ts';
import type { Inventory } from '@berth/shared/model/inventory.ts';
import { toWire } from './encode.ts';

const MOST_UINT32 = 2 ** 32 - 1;
/** Files of the kernel may hold any digits. */
const whole = (n: number): number => Math.max(0, Math.min(MOST_UINT32, Math.trunc(n)));

export const encodeInventory = (i: Inventory): Hardware => ({
  cpu: { ...i.cpu },
  numa: i.numa.map((n) => ({
    ...n,
    memoryBytes: toWire(n.memoryBytes),
    freeBytes: toWire(n.freeBytes),
    distances: n.distances.map(whole),
  })),
  nics: i.nics.map((n) => ({ ...n, speedMbps: whole(n.speedMbps), mtu: whole(n.mtu) })),
  disks: i.disks.map((d) => ({ ...d, sizeBytes: toWire(d.sizeBytes) })),
  pci: i.pci.map((d) => ({
    ...d,
    iommuGroup: d.iommuGroup === undefined ? undefined : whole(d.iommuGroup),
    numaNode: d.numaNode === undefined ? undefined : whole(d.numaNode),
    virtualFunctions: whole(d.virtualFunctions),
  })),
  usb: i.usb.map((d) => ({ ...d, bus: whole(d.bus), device: whole(d.device), speedMbps: whole(d.speedMbps) })),
});
