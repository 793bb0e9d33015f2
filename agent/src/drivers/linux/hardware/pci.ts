/** PCI devices with their IOMMU groups, below /sys/bus/pci/devices; their names come from the system's list (pci-names.ts). */
import { MOST_OF_A_KIND, type PciInventory } from '@berth/shared/model/inventory.ts';
import type { RootFiles } from '../root-files.ts';
import { each } from './each.ts';
import { hex, natural } from './numbers.ts';
import { findPciNames } from './pci-names.ts';

const DEVICES = '/sys/bus/pci/devices';
const ADDRESS = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/;

type Bare = Omit<PciInventory, 'className' | 'vendor' | 'device'>;

export async function readPci(files: RootFiles): Promise<PciInventory[]> {
  const addresses = (await files.names(DEVICES)).filter((n) => ADDRESS.test(n)).slice(0, MOST_OF_A_KIND.pci);
  const bare = await each(addresses, (address) => readDevice(files, address));
  const names = await findPciNames(files, bare);
  return bare.map((d) => ({ ...d, ...names(d) }));
}

async function readDevice(files: RootFiles, address: string): Promise<Bare | undefined> {
  const at = `${DEVICES}/${address}`;
  const line = (file: string) => files.line(`${at}/${file}`);
  const vendorId = hex(await line('vendor'));
  if (vendorId === '') return undefined;
  const physicalFunction = await files.linkName(`${at}/physfn`);
  return {
    address,
    vendorId,
    deviceId: hex(await line('device')),
    classId: hex(await line('class')).padStart(6, '0'),
    driver: await files.linkName(`${at}/driver`),
    iommuGroup: natural(await files.linkName(`${at}/iommu_group`)),
    numaNode: natural(await line('numa_node')),
    physicalFunction: ADDRESS.test(physicalFunction) ? physicalFunction : '',
    virtualFunctions: natural(await line('sriov_totalvfs')) ?? 0,
  };
}

/** The device nearest to the end of a path below /sys/devices; empty when it goes through none. */
export const pciAddressIn = (path: string): string =>
  path
    .split('/')
    .filter((part) => ADDRESS.test(part))
    .at(-1) ?? '';
