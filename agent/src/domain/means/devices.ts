/** Devices of the host that a definition takes for its guest alone, and ports that it listens on: whether it may. Pure. */
import type { Inventory, PciInventory } from '@berth/shared/model/inventory.ts';
import type { Asked, Host, Neighbour } from './asked.ts';

/** A device of the class 01: what disks hang on. */
const STORAGE = /^01/;
const GIVEN_AWAY = 'vfio-pci';

const full = (address: string): string => (address.length === 7 ? `0000:${address}` : address);

export function* devicesLacking(vm: Asked, { inventory, hostName }: Host): Iterable<string> {
  for (const d of vm.hardware?.hostDevices ?? [])
    if ('usb' in d) yield* usb(d.usb, inventory, hostName);
    else yield* pci(full(d.pci), inventory, hostName);
}

function* usb(id: string, inventory: Inventory, hostName: string): Iterable<string> {
  if (inventory.usb.some((u) => `${u.vendorId}:${u.productId}` === id)) return;
  yield `asks for USB device ${id}, which is not plugged into ${hostName} (berth host hardware ${hostName} lists those that are)`;
}

function* pci(address: string, inventory: Inventory, hostName: string): Iterable<string> {
  const device = inventory.pci.find((p) => p.address === address);
  if (device === undefined) {
    yield `asks for PCI device ${address}, which ${hostName} does not have (berth host hardware ${hostName} lists them)`;
    return;
  }
  if (device.iommuGroup === undefined)
    yield `asks for PCI device ${address}, and ${hostName} has no IOMMU that would keep it apart: switch on VT-d or AMD-Vi in its firmware, and intel_iommu=on on its kernel command line`;
  const use = usedFor(device, inventory);
  if (use !== undefined) yield `asks for PCI device ${address}, which is ${use} of ${hostName} itself`;
}

function usedFor({ address, classId, driver }: PciInventory, inventory: Inventory): string | undefined {
  if (driver === GIVEN_AWAY || driver === '') return undefined;
  const nic = inventory.nics.find((n) => n.pciAddress === address && n.link === 'up');
  if (nic) return `the network card ${nic.name}, whose link is up,`;
  return STORAGE.test(classId) ? `storage (driver ${driver})` : undefined;
}

/** What other guests hold. @param listening ports that anybody listens on */
export function* taken(
  vm: Asked,
  neighbours: readonly Neighbour[],
  listening: ReadonlySet<number>,
  hostName: string,
): Iterable<string> {
  for (const d of vm.hardware?.hostDevices ?? []) {
    const holder = 'pci' in d ? neighbours.find((n) => n.pci.includes(full(d.pci))) : undefined;
    if (holder && 'pci' in d) yield `asks for PCI device ${full(d.pci)}, which vm ${holder.name} has now`;
  }
  for (const { type, port } of vm.hardware?.graphics ?? []) {
    if (port === undefined) continue;
    const holder = neighbours.find((n) => n.ports.includes(port));
    const who = holder ? `vm ${holder.name}` : listening.has(port) ? 'another program' : undefined;
    if (who)
      yield `shows its screen by ${type} on port ${port}, which ${who} on ${hostName} uses: choose another, or none`;
  }
}
