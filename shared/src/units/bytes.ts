/** Sizes with units, as people write and read them: `20GiB`, `512 MiB`, `14 MB`. Not for rates or durations. */
import { invalidArgument } from '../errors/cluster-error.ts';

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  // A letter alone is binary, as qemu-img and virt-install have it.
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  PB: 1e15,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
  PIB: 2 ** 50,
};
const BINARY = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
const DECIMAL = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];

/** Bytes of `20GiB`, `20G`, `1.5 TiB`, `512MB`, `4096B`. A bare number has no unit, so it is refused (0 excepted). */
export function parseBytes(text: string): number {
  const m = /^(\d{1,16}(?:\.\d{1,6})?)\s*([A-Za-z]{1,3})?$/.exec(text.trim());
  const factor = m?.[2] === undefined ? undefined : UNITS[m[2].toUpperCase()];
  if (m && Number(m[1]) === 0 && (m[2] === undefined || factor !== undefined)) return 0;
  if (!m || factor === undefined)
    throw invalidArgument(
      `${JSON.stringify(text.slice(0, 40))} is not a size: write a number with a unit, like 20GiB or 512MiB`,
    );
  const bytes = Math.round(Number(m[1]) * factor);
  if (!Number.isSafeInteger(bytes))
    throw invalidArgument(`${text.trim()} is larger than any size that can be handled (8 PiB)`);
  return bytes;
}

/** `512 MiB`, `8 GiB`, `1.2 GiB`: memory and disks, which are counted in powers of two. */
export const formatBytes = (bytes: number): string => scaled(bytes, 1024, BINARY);

/** `14 MB`, `425 MB`: files and transfers, which are counted in powers of ten. */
export const formatFileBytes = (bytes: number): string => scaled(bytes, 1000, DECIMAL);

/** `20GiB`, exact and without a space, so that it can be read back: configuration and YAML. */
export function unitBytes(bytes: number): string {
  let power = 0;
  while (power < BINARY.length - 1 && bytes > 0 && bytes % 1024 ** (power + 1) === 0) power++;
  return `${bytes / 1024 ** power}${BINARY[power]}`;
}

function scaled(bytes: number, base: number, units: readonly string[]): string {
  let power = 0;
  while (power < units.length - 1 && Math.abs(bytes) >= base ** (power + 1)) power++;
  let text = digits(bytes / base ** power, power);
  // 1023.99 MiB rounds to 1024 MiB: that is 1 GiB
  if (Number(text) >= base && power < units.length - 1) text = digits(bytes / base ** ++power, power);
  return `${text} ${units[power]}`;
}

const digits = (value: number, power: number): string =>
  power === 0 || Math.abs(value) >= 10 || Number.isInteger(value)
    ? value.toFixed(0)
    : value.toFixed(1).replace(/\.0$/, '');
