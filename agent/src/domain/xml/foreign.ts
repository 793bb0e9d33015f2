/**
 * What stands in a domain that Berth has no words for: somebody put it there by hand. It is told, and kept when Berth defines
 * the domain anew. Pure.
 */
import { dirname } from 'node:path';
import { readHostDevice } from './devices.ts';
import { readNic } from './nic.ts';
import { fileOf, isDrive, targetOf } from './read-drives.ts';
import { attributeAt, find, printXml, textAt, type XmlElement } from './tree.ts';

export interface Foreign {
  /** In words. */
  readonly what: string;
  /** A device, or an element of the domain itself; undefined: nothing that could be kept. */
  readonly device?: XmlElement;
  readonly element?: XmlElement;
}

export interface ForeignFrom {
  /** Whether a file is a volume of this host. */
  isVolume(path: string): boolean;
  isImage(path: string): boolean;
  readonly bootDir: string;
}

/** Elements of a domain that Berth writes, or libvirt by itself. */
const OWN: ReadonlySet<string> = new Set([
  ...['name', 'uuid', 'metadata', 'memory', 'currentMemory', 'memoryBacking', 'vcpu', 'vcpus', 'iothreads'],
  ...['iothreadids', 'cputune', 'numatune', 'resource', 'os', 'features', 'cpu', 'clock', 'devices', 'seclabel'],
  ...['on_poweroff', 'on_reboot', 'on_crash', 'pm'],
]);
/** Devices that are one of their kind, or that libvirt adds by itself. */
const OWN_DEVICES: ReadonlySet<string> = new Set([
  ...['emulator', 'console', 'controller', 'input', 'audio', 'graphics', 'sound', 'video', 'watchdog', 'memballoon'],
]);
const MOST_SERIAL_PORTS = 4;
const CHANNELS: ReadonlySet<string> = new Set(['org.qemu.guest_agent.0', 'com.redhat.spice.0']);

export function foreignIn(domain: XmlElement, from: ForeignFrom): readonly Foreign[] {
  const spaces = Object.entries(domain.attributes).filter(([name]) => name.startsWith('xmlns'));
  const elements = domain.children
    .filter((e) => !OWN.has(e.name))
    .map((e): Foreign => {
      const element = { ...e, attributes: { ...Object.fromEntries(spaces), ...e.attributes } };
      return { what: `it has a <${e.name}>, which Berth knows nothing of`, element };
    });
  return [...devicesIn(domain, from), ...kernelIn(domain, from), ...elements];
}

function devicesIn(domain: XmlElement, from: ForeignFrom): readonly Foreign[] {
  const counts = new Map<string, number>();
  return (find(domain, 'devices')?.children ?? []).flatMap((device) => {
    const count = counts.get(device.name) ?? 0;
    counts.set(device.name, count + 1);
    const what = foreignDevice(device, count, from);
    if (what === undefined) return [];
    // the drive is Berth's; only what lies in it is not
    return [device.name === 'disk' && isDrive(device) ? { what } : { what, device }];
  });
}

type Look = (d: XmlElement, from: ForeignFrom, count: number) => boolean;

/** Whether Berth could have made it. @param count of its kind before it */
const MADE: Readonly<Record<string, Look>> = {
  interface: (d) => readNic(d, () => false) !== undefined,
  serial: (d, _, count) => count < MOST_SERIAL_PORTS && d.attributes['type'] === 'pty',
  channel: (d) => CHANNELS.has(attributeAt(d, 'name', 'target') ?? ''),
  hostdev: (d) => readHostDevice(d) !== undefined,
  rng: (d, _, count) => count === 0 && attributeAt(d, 'model', 'backend') === 'random',
  tpm: (d) => attributeAt(d, 'type', 'backend') === 'emulator',
};

function foreignDevice(d: XmlElement, count: number, from: ForeignFrom): string | undefined {
  if (d.name === 'disk') return foreignDisk(d, from);
  if (OWN_DEVICES.has(d.name) || MADE[d.name]?.(d, from, count) === true) return undefined;
  if (d.name === 'interface') return `network card ${attributeAt(d, 'address', 'mac') ?? ''} is on no bridge`;
  return unknown(d);
}

const unknown = (d: XmlElement): string =>
  `its ${d.attributes['type'] ? `${d.attributes['type']} ` : ''}${d.name} device is none that Berth makes`;

function foreignDisk(d: XmlElement, from: ForeignFrom): string | undefined {
  const path = fileOf(d);
  const shown = path.slice(0, 200) || 'empty';
  if (!isDrive(d)) return from.isVolume(path) ? undefined : `disk ${targetOf(d)} (${shown}) is not in Berth's pool`;
  if (path === '' || from.isImage(path)) return undefined;
  return `drive ${targetOf(d)} holds ${shown}, which is no image of Berth's`;
}

function kernelIn(domain: XmlElement, { bootDir }: ForeignFrom): readonly Foreign[] {
  const kernel = textAt(domain, 'os', 'kernel');
  if (kernel === '' || dirname(kernel) === bootDir) return [];
  return [{ what: `it boots the kernel ${kernel.slice(0, 200)}, which is not in ${bootDir}` }];
}

/** Printed for the next definition; libvirt gives it a name and a place anew. */
export const printKept = (foreign: readonly Foreign[]): { domain: readonly string[]; devices: readonly string[] } => ({
  domain: foreign.flatMap((f) => (f.element ? [printXml(f.element)] : [])),
  devices: foreign.flatMap((f) => (f.device ? [printXml(withoutName(f.device))] : [])),
});

const withoutName = (device: XmlElement): XmlElement => ({
  ...device,
  children: device.children.filter(
    (c) => c.name !== 'alias' && !(c.name === 'address' && c.attributes['type'] === 'pci'),
  ),
});
