/** Small texts of sysfs as numbers and words. Pure. */

/** A whole number, `-1` and garbage left out. */
export function natural(text: string): number | undefined {
  const digits = /^\s*(\d{1,15})\s*$/.exec(text)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Digits of `0x1af4`, in lower case; empty for anything else. */
export const hex = (text: string): string => /^\s*0x([0-9a-fA-F]{1,8})\s*$/.exec(text)?.[1]?.toLowerCase() ?? '';

const MOST_CPUS = 65_536;

/** CPUs of `0-3,8`; garbage and what goes beyond any machine is left out. */
export function parseCpuList(text: string): number[] {
  const cpus = new Set<number>();
  for (const part of text.trim().split(',', 4096)) {
    const [, first, last] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    if (first === undefined) continue;
    for (let cpu = Number(first); cpu <= Number(last ?? first) && cpu < MOST_CPUS; cpu++) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

const WORD_CHARS = 128;

/** What a device says of itself: trimmed, runs of space made one, cut. */
export const words = (text: string): string =>
  text
    .replace(/[\s\0]+/g, ' ')
    .trim()
    .slice(0, WORD_CHARS);
