/** Disks of the machine, below /sys/block. What is made of files or of other disks (loop, device mapper, md) is not hardware. */
import { MOST_OF_A_KIND, type DiskInventory } from '@berth/shared/model/inventory.ts';
import { parseChoice } from '../hugepages.ts';
import type { RootFiles } from '../root-files.ts';
import { each } from './each.ts';
import { natural, words } from './numbers.ts';

const BLOCK = '/sys/block';
/** Whatever the disk's own sectors are. */
const SECTOR_BYTES = 512;

export async function readDisks(files: RootFiles): Promise<DiskInventory[]> {
  const names = (await files.names(BLOCK)).slice(0, MOST_OF_A_KIND.disks);
  return each(names, async (name) => {
    const at = `${BLOCK}/${name}`;
    if (!(await files.exists(`${at}/device`))) return undefined;
    const line = (file: string) => files.line(`${at}/${file}`);
    const vendor = words(await line('device/vendor'));
    const model = words(await line('device/model'));
    return {
      name,
      sizeBytes: (natural(await line('size')) ?? 0) * SECTOR_BYTES,
      // virtio's vendor is a number, that of SATA is the word ATA
      model: words(/^(ATA|0x\w+)?$/.test(vendor) ? model : `${vendor} ${model}`),
      serial: words((await line('device/serial')) || (await line('serial'))),
      bus: busOf(name, await files.realPath(at)),
      rotational: (await line('queue/rotational')) === '1',
      removable: (await line('removable')) === '1',
      scheduler: parseChoice(await line('queue/scheduler'))?.chosen ?? '',
    };
  });
}

/** @param path where /sys/block/NAME really is: it goes through the bus. */
export function busOf(name: string, path: string): string {
  if (name.startsWith('nvme')) return 'nvme';
  if (name.startsWith('mmcblk')) return 'mmc';
  if (/\/usb\d+\//.test(path)) return 'usb';
  if (/\/virtio\d+\//.test(path)) return 'virtio';
  return /\/ata\d+\//.test(path) ? 'ata' : 'scsi';
}
