/** Names of PCI vendors, devices and classes, from the list that most systems have (packages pci.ids, hwdata). */
import type { RootFiles } from '../root-files.ts';
import { words } from './numbers.ts';

const LISTS = ['/usr/share/misc/pci.ids', '/usr/share/hwdata/pci.ids', '/var/lib/pciutils/pci.ids'];
/** The list has 1.5 MB today. */
const MOST_BYTES = 8 * 2 ** 20;

/** For machines without the list: the base classes, by the first two digits. */
const CLASSES: Readonly<Record<string, string>> = {
  '01': 'Storage controller',
  '02': 'Network controller',
  '03': 'Display controller',
  '04': 'Multimedia controller',
  '05': 'Memory controller',
  '06': 'Bridge',
  '07': 'Communication controller',
  '08': 'System peripheral',
  '09': 'Input device',
  '0b': 'Processor',
  '0c': 'Serial bus controller',
  '0d': 'Wireless controller',
  '12': 'Processing accelerator',
};

interface Ids {
  readonly vendorId: string;
  readonly deviceId: string;
  readonly classId: string;
}
interface Names {
  readonly vendor: string;
  readonly device: string;
  readonly className: string;
}
type Namer = (d: Ids) => Names;

/** Keeps only the names of these devices. */
export async function findPciNames(files: RootFiles, wanted: readonly Ids[]): Promise<Namer> {
  for (const list of LISTS) {
    const text = await files.all(list).catch(() => '');
    if (text !== '' && text.length <= MOST_BYTES) return parsePciIds(text, wanted);
  }
  return parsePciIds('', wanted);
}

/**
 * Lines of the list: `8086  Intel Corporation`, below it `\t1572  Ethernet Controller X710`; classes after them as
 * `C 02  Network controller` and `\t00  Ethernet controller`. Sub-devices (two tabs) and comments are passed over.
 */
export function parsePciIds(text: string, wanted: readonly Ids[]): Namer {
  const keys = new Set(wanted.flatMap((d) => [d.vendorId, `${d.vendorId}:${d.deviceId}`, ...classKeys(d.classId)]));
  const found = new Map<string, string>();
  let above = '';
  for (const [, tab = '', id = '', name = ''] of text.matchAll(/^(\t?)((?:C )?[0-9a-f]{2,4}) {2}(.+)$/gm)) {
    if (tab === '') above = id;
    const key = tab === '' ? id : `${above}:${id}`;
    if (keys.has(key) && !found.has(key)) found.set(key, words(name));
  }
  return ({ vendorId, deviceId, classId }) => ({
    vendor: found.get(vendorId) ?? '',
    device: found.get(`${vendorId}:${deviceId}`) ?? '',
    className:
      classKeys(classId)
        .map((k) => found.get(k))
        .find((n) => n !== undefined) ??
      CLASSES[classId.slice(0, 2)] ??
      '',
  });
}

/** The subclass before the class. */
const classKeys = (classId: string): string[] => {
  const base = `C ${classId.slice(0, 2)}`;
  return [`${base}:${classId.slice(2, 4)}`, base];
};
