/** USB devices, hubs left out, below /sys/bus/usb/devices. */
import { MOST_OF_A_KIND, type UsbInventory } from '@berth/shared/model/inventory.ts';
import type { RootFiles } from '../root-files.ts';
import { each } from './each.ts';
import { natural, words } from './numbers.ts';

const DEVICES = '/sys/bus/usb/devices';
const HUB = '09';
const ID = /^[0-9a-f]{4}$/;

export async function readUsb(files: RootFiles): Promise<UsbInventory[]> {
  // 1-1.2 is a device, 1-1.2:1.0 an interface of it
  const names = (await files.names(DEVICES)).filter((n) => !n.includes(':'));
  const all = await each(names, async (name) => {
    const line = (file: string) => files.line(`${DEVICES}/${name}/${file}`);
    const [vendorId, productId] = [await line('idVendor'), await line('idProduct')];
    if (!ID.test(vendorId) || !ID.test(productId) || (await line('bDeviceClass')) === HUB) return undefined;
    return {
      bus: natural(await line('busnum')) ?? 0,
      device: natural(await line('devnum')) ?? 0,
      vendorId,
      productId,
      vendor: words(await line('manufacturer')),
      product: words(await line('product')),
      serial: words(await line('serial')),
      speedMbps: natural((await line('speed')).replace(/\..*$/, '')) ?? 0,
    };
  });
  return all.slice(0, MOST_OF_A_KIND.usb);
}
