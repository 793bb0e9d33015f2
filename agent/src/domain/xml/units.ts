/** Sizes and PCI addresses as libvirt writes them: to XML and back. Pure. */
import { el } from './text.ts';
import type { XmlElement } from './tree.ts';

const UNITS: Readonly<Record<string, number>> = {
  ...{ b: 1, bytes: 1, KB: 1000, k: 2 ** 10, KiB: 2 ** 10, MB: 1e6, M: 2 ** 20, MiB: 2 ** 20 },
  ...{ GB: 1e9, G: 2 ** 30, GiB: 2 ** 30, TB: 1e12, T: 2 ** 40, TiB: 2 ** 40 },
};

/** NaN when it is none. */
export const bytesOf = (e: XmlElement | undefined): number =>
  e === undefined || e.text === '' ? Number.NaN : Number(e.text) * (UNITS[e.attributes['unit'] ?? 'KiB'] ?? Number.NaN);

const PCI = /^(?:([0-9a-f]{4}):)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/;

/** @param address 0000:03:00.0; undefined: libvirt finds a place. */
export const pciXml = (address: string | undefined): string | undefined => addressXml(address, 'pci');

/** Of a device of the host. */
export const hostPciXml = (address: string): string | undefined => addressXml(address, undefined);

function addressXml(address: string | undefined, type: 'pci' | undefined): string | undefined {
  const parts = address === undefined ? null : PCI.exec(address);
  if (parts === null) return undefined;
  const [, domain = '0000', bus, slot, fn] = parts;
  return el('address', { type, domain: `0x${domain}`, bus: `0x${bus}`, slot: `0x${slot}`, function: `0x${fn}` });
}

/** Of an `<address>`; undefined when it is none of a PCI device. */
export function pciOf(e: XmlElement | undefined): string | undefined {
  const { bus, slot, function: fn, domain = '0', type = 'pci' } = e?.attributes ?? {};
  if (type !== 'pci' || bus === undefined || slot === undefined || fn === undefined) return undefined;
  const hex = (text: string, digits: number): string => Number(text).toString(16).padStart(digits, '0');
  return `${hex(domain, 4)}:${hex(bus, 2)}:${hex(slot, 2)}.${hex(fn, 1)}`;
}
