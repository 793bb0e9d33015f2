/**
 * Settings of a host's kernel that Berth can keep, and how much memory they take away. Names are as people write them: ksm, thp,
 * swappiness, hugepages/2MiB, io-scheduler/sda. Plain data; what may stand in them is shared/src/tuning/check.ts's.
 */

/** Value by name; what has no name in it is left to the host. */
export type Tuning = Readonly<Record<string, string>>;

/** One setting as a host has it. */
export interface TuningSeen {
  readonly name: string;
  readonly value: string;
  /** Values that it takes there; empty: any of its kind. */
  readonly choices: readonly string[];
  /** What suits a host of VMs; empty: that depends on its VMs. */
  readonly recommended: string;
  /** What else is worth knowing: `100 free`. */
  readonly note: string;
}

export interface HostTuning {
  readonly settings: readonly TuningSeen[];
}

/** Size of the pages that a setting counts; undefined for another setting. */
export function pageBytesOf(name: string): number | undefined {
  const [, count, unit] = /^hugepages\/(\d{1,4})([KMG])iB$/.exec(name) ?? [];
  return count === undefined ? undefined : Number(count) * 1024 ** ('KMG'.indexOf(unit ?? '') + 1);
}

/** Memory that the host shall give to large pages, by their size. */
export function hugePagesOf(tuning: Tuning | undefined): ReadonlyMap<number, number> {
  const all = Object.entries(tuning ?? {}).map(([name, value]) => [pageBytesOf(name), Number(value)] as const);
  return new Map(all.flatMap(([size, count]) => (size === undefined ? [] : [[size, size * count] as const])));
}

/** Of settings that a host shall have: those that it has otherwise, or not at all. */
export const driftOf = (wanted: Tuning | undefined, seen: readonly TuningSeen[]): Tuning =>
  Object.fromEntries(
    Object.entries(wanted ?? {}).filter(([name, value]) => seen.find((s) => s.name === name)?.value !== value),
  );
