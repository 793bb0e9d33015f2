/** The hardware of a host, from what its agent sends to what we show: sizes bounded, words made harmless. Pure. */
import type { Hardware } from '@berth/proto/agent/v1/machine.ts';
import { MOST_OF_A_KIND, type Inventory, type NicInventory } from '@berth/shared/model/inventory.ts';
import { clip } from './limits.ts';

const TEXT_CHARS = 128;
const MOST_BYTES = BigInt(Number.MAX_SAFE_INTEGER);

const text = (s: string): string => clip(s, TEXT_CHARS);
const bytes = (n: bigint): number => Number(n > MOST_BYTES ? MOST_BYTES : n);
const LINKS: readonly string[] = ['up', 'down'] satisfies NicInventory['link'][];

/** Every text of a flat object clipped; numbers, flags and absent ones stay. */
const clipped = <T extends object>(o: T): T =>
  Object.fromEntries(Object.entries(o).map(([k, v]) => [k, typeof v === 'string' ? text(v) : v])) as T;

export const toInventory = (h: Hardware): Inventory => ({
  cpu: clipped(h.cpu ?? { model: '', sockets: 0, cores: 0, threads: 0 }),
  numa: h.numa.slice(0, MOST_OF_A_KIND.numa).map((n) => ({
    id: n.id,
    cpus: text(n.cpus),
    memoryBytes: bytes(n.memoryBytes),
    freeBytes: bytes(n.freeBytes),
    distances: n.distances.slice(0, MOST_OF_A_KIND.numa),
  })),
  nics: h.nics.slice(0, MOST_OF_A_KIND.nics).map((n) => ({ ...clipped(n), link: toLink(n.link) })),
  disks: h.disks.slice(0, MOST_OF_A_KIND.disks).map((d) => ({ ...clipped(d), sizeBytes: bytes(d.sizeBytes) })),
  pci: h.pci
    .slice(0, MOST_OF_A_KIND.pci)
    .map((d) => ({ ...clipped(d), iommuGroup: d.iommuGroup, numaNode: d.numaNode })),
  usb: h.usb.slice(0, MOST_OF_A_KIND.usb).map((d) => clipped(d)),
});

const toLink = (s: string): NicInventory['link'] => (LINKS.includes(s) ? (s as NicInventory['link']) : 'unknown');
