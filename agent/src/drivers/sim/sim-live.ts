/**
 * What changes in the XML of a simulated guest that runs: its vCPUs, its memory, a device. As strict as libvirt about what is
 * there; a guest follows at once. Pure.
 */
import { badState, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { sizesOf } from './sim-domain-xml.ts';

export function withVcpus(xml: string, vcpus: number): string {
  const { mostVcpus } = sizesOf(xml);
  if (vcpus < 1 || vcpus > mostVcpus) throw invalidArgument(`${vcpus} vCPUs is not in range 1 to ${mostVcpus}`);
  return xml.replace(/<vcpu[^>]*>/, `<vcpu placement="static" current="${vcpus}">`);
}

export function withMemory(xml: string, memoryBytes: number): string {
  const { mostMemoryBytes } = sizesOf(xml);
  if (memoryBytes > mostMemoryBytes)
    throw invalidArgument(`cannot set memory higher than max memory (${mostMemoryBytes})`);
  const current = `<currentMemory unit="KiB">${memoryBytes / 1024}</currentMemory>`;
  const had = /<currentMemory[^>]*>[^<]*<\/currentMemory>/;
  return had.test(xml) ? xml.replace(had, current) : xml.replace('</memory>', `</memory>${current}`);
}

/** What a test puts into a drive that its guest holds on to. */
const LOCKED = 'tray="locked"';

/** By its place (disks) or its MAC address (cards). */
export function withDevice(xml: string, device: string, force: boolean): string {
  const tag = /^\s*<(disk|interface)\b/.exec(device)?.[1];
  const key = tag && keyOf(device);
  const all = tag === undefined ? [] : [...xml.matchAll(new RegExp(`<${tag}\\b[\\s\\S]*?</${tag}>`, 'g'))];
  const there = all.map((m) => m[0]).find((d) => keyOf(d) === key);
  if (key === undefined || there === undefined) throw notFound(`device not found: ${key ?? device.slice(0, 40)}`);
  if (there.includes(LOCKED) && !force) throw badState(`tray of device ${key} is locked`);
  return xml.replace(there, () => device);
}

const keyOf = (device: string): string | undefined =>
  (/<target [^>]*dev=["']([^"']+)/.exec(device) ?? /<mac [^>]*address=["']([^"']+)/.exec(device))?.[1];
