/** The kinds of value that a VM's definition is written in: sets of CPUs, addresses, words. Schemas only; which field takes which is schema.ts. */
import * as z from 'zod';
import { formatBytes } from '../units/bytes.ts';

const MIB = 2 ** 20;
export const MOST_VCPUS = 1024;
export const MOST_MEMORY_BYTES = 64 * 2 ** 40;

export const whole = (least: number, most: number) =>
  z
    .int(`must be a whole number from ${least} to ${most}`)
    .min(least, atLeast(String(least)))
    .max(most, atMost(String(most)));

const atLeast = (least: string) => `must be at least ${least}`;
const atMost = (most: string) => `must be at most ${most}`;

/** @param step it must be a multiple of this. */
export const bytes = (least: number, most: number, step = 1) =>
  z
    .int('must be a size')
    .min(least, atLeast(formatBytes(least)))
    .max(most, atMost(formatBytes(most)))
    .refine((n) => n % step === 0, `must be a multiple of ${formatBytes(step)}`);

export const memory = bytes(16 * MIB, MOST_MEMORY_BYTES, MIB);
export const rate = (most: number) =>
  z
    .int('must be a whole number')
    .min(1, atLeast('1'))
    .max(most, atMost(String(most)));

export const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, `must be one of ${values.join(', ')}`);

/** The syntax of libvirt's cpusets: `0-3,^2,8`. */
export const cpuset = z
  .string()
  .max(400)
  .regex(/^\^?\d{1,4}(-\d{1,4})?(,\^?\d{1,4}(-\d{1,4})?)*$/, 'must name CPUs like 0-3,^2');

export const pciAddress = z
  .string()
  .regex(/^([0-9a-f]{4}:)?[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/, 'must be a PCI address like 0000:03:00.0');

export const usbId = z.string().regex(/^[0-9a-f]{4}:[0-9a-f]{4}$/, 'must be vendor:product like 046d:c52b');

/** A name of something that libvirt or QEMU knows; nothing that could end an XML attribute or an argument. */
export const word = (most = 64) =>
  z
    .string()
    .max(most)
    .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]*$/, 'must be a name of letters, digits, ., _, + or -');

/** Text for the guest: no control characters, of which XML 1.0 can hold none. */
export const line = (most: number) =>
  z
    .string()
    .min(1, 'must not be empty')
    .max(most, `must be at most ${most} characters long`)

    .regex(/^[^\u0000-\u001f\u007f\ufffe\uffff]*$/, 'must not have control characters')
    .refine((s) => !/\p{Surrogate}/u.test(s), 'must be proper Unicode');

/** The vCPUs or CPUs in a set, in order. `0-3,^2` is 0, 1, 3. */
export function cpusOf(set: string): readonly number[] {
  const parts = set.split(',').map((part) => {
    const [first = '', last = first] = part.replace('^', '').split('-');
    return { not: part.startsWith('^'), first: Number(first), last: Number(last) };
  });
  const cpus = new Set<number>();
  for (const { not, first, last } of parts)
    for (let cpu = first; cpu <= Math.min(last, 9999); cpu++)
      if (not) cpus.delete(cpu);
      else cpus.add(cpu);
  return [...cpus].sort((a, b) => a - b);
}
