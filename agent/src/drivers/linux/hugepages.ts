/** Large pages, KSM and swap, as the kernel's files tell of them. Pure: text and names in, numbers out; machine.ts opens the files. */

/** Size of the pages of a directory of /sys/kernel/mm/hugepages; undefined for another name. */
export function hugePageBytes(directory: string): number | undefined {
  const kib = Number(/^hugepages-(\d{1,10})kB$/.exec(directory)?.[1] ?? 0);
  return kib > 0 ? kib * 1024 : undefined;
}

/** A whole number that stands alone in a file; 0 for anything else. */
export function wholeNumber(text: string): number {
  const digits = /^\s*(\d{1,19})\s*$/.exec(text)?.[1];
  const n = Number(digits ?? 0);
  return Number.isSafeInteger(n) ? n : 0;
}

/** The chosen word of `always [madvise] never`, and all of them; undefined when none is chosen. */
export function parseChoice(
  text: string,
): { readonly chosen: string; readonly choices: readonly string[] } | undefined {
  const words = text
    .trim()
    .split(/\s+/)
    .filter((w) => w !== '')
    .slice(0, 64);
  const chosen = words.find((w) => /^\[[^[\]]+\]$/.test(w))?.slice(1, -1);
  return chosen === undefined ? undefined : { chosen, choices: words.map((w) => w.replace(/^\[(.+)\]$/, '$1')) };
}

/** Of /proc/meminfo. */
export function parseSwap(meminfo: string): { readonly totalBytes: number; readonly usedBytes: number } {
  const kib = (key: string): number => Number(new RegExp(`^${key}: +(\\d{1,16}) kB$`, 'm').exec(meminfo)?.[1] ?? 0);
  const totalBytes = kib('SwapTotal') * 1024;
  return { totalBytes, usedBytes: Math.max(0, totalBytes - kib('SwapFree') * 1024) };
}
