/** Names of disks as the guest counts them, by bus: vda, sda, hda. Pure. */
import type { DiskBus } from './schema.ts';

const PREFIX: Readonly<Record<DiskBus, string>> = { virtio: 'vd', scsi: 'sd', sata: 'sd', usb: 'sd', ide: 'hd' };

/** vdz belongs to the seed. */
const LETTERS = 'abcdefghijklmnopqrstuvwxy';
/** IDE has two channels of two. */
const MOST: Readonly<Record<string, number>> = { vd: LETTERS.length, sd: LETTERS.length, hd: 4 };

export const prefixOf = (bus: DiskBus): string => PREFIX[bus];

export const TARGET = /^([vs]d[a-y]|hd[a-d])$/;

/** Of a target whose bus is not said. */
export const busOf = (target: string): DiskBus =>
  target.startsWith('vd') ? 'virtio' : target.startsWith('hd') ? 'ide' : 'sata';

/** The first free name on the bus; undefined when there is none. @param taken names in use */
export function freeTarget(bus: DiskBus, taken: readonly string[]): string | undefined {
  const prefix = prefixOf(bus);
  const names = [...LETTERS].slice(0, MOST[prefix]).map((letter) => `${prefix}${letter}`);
  return names.find((name) => !taken.includes(name));
}
