/** All hardware of the machine, put together. Each part is a file beside this one; what a machine has not is empty. */
import type { Inventory } from '@berth/shared/model/inventory.ts';
import type { RootFiles } from '../root-files.ts';
import { readCpu, readNuma } from './cpu.ts';
import { readDisks } from './disks.ts';
import { readNics } from './nics.ts';
import { readPci } from './pci.ts';
import { readUsb } from './usb.ts';

export const readInventory = async (files: RootFiles): Promise<Inventory> => ({
  cpu: await readCpu(files),
  numa: await readNuma(files),
  nics: await readNics(files),
  disks: await readDisks(files),
  pci: await readPci(files),
  usb: await readUsb(files),
});
