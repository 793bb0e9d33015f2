/** udev rules that give cards their names by MAC address: for systems that know cards by name alone. Pure. */
import type { SeedNic } from '../../volume/seed-files.ts';

/** Answers the names, those of the template first. */
export function pinNames(nics: readonly SeedNic[], known: readonly string[]): { names: string[]; rules: string } {
  const names = nics.map((_, i) => known[i] ?? `lan${i}`);
  const rule = (n: SeedNic, i: number): string =>
    `SUBSYSTEM=="net", ACTION=="add", ATTR{address}=="${n.mac.toLowerCase()}", ATTR{type}=="1", NAME="${names[i]}"\n`;
  return { names, rules: nics.map(rule).join('') };
}
