/** Reads what the kernel tells of its load in text files. Pure: text in, numbers out; load.ts opens the files. */
import type { MachineCounters, NicCounters } from '../machine.ts';
import { parseCpuTimes, type CpuTimes } from './procfs.ts';

/** Names of what guests are plugged into: it is no bridge, and has its own figures, those of its VM. */
export const OF_GUESTS = /^(lo|vnet\d+|macvtap\d+|tap\d+)$/;

export interface CpuParts extends CpuTimes {
  readonly iowait: number;
  readonly steal: number;
}

/** First line of /proc/stat, in ticks. */
export function parseCpuParts(stat: string): CpuParts {
  const times = (/^cpu +([\d ]+)$/m.exec(stat)?.[1] ?? '').trim().split(/ +/).map(Number);
  return { ...parseCpuTimes(stat), iowait: times[4] ?? 0, steal: times[7] ?? 0 };
}

/** Processors (threads) that are on, of /proc/stat. */
export const countCpus = (stat: string): number => stat.match(/^cpu\d+ /gm)?.length ?? 0;

const MODES = ['user', 'nice', 'system', 'idle', 'iowait', 'irq', 'softirq', 'steal'] as const;
/** What /proc counts CPU time in, on every machine that Linux runs on today. */
const TICKS_PER_SECOND = 100;

/** CPU time of all processors since the boot by what it was spent on. What guests used counts as `user`, as the kernel counts. */
export function parseCpuSeconds(stat: string): Readonly<Record<string, number>> {
  const ticks = (/^cpu +([\d ]+)$/m.exec(stat)?.[1] ?? '').trim().split(/ +/).map(Number);
  return Object.fromEntries(MODES.map((mode, i) => [mode, (ticks[i] ?? 0) / TICKS_PER_SECOND]));
}

/** Load averages over one, five and fifteen minutes. */
export function parseLoads(loadavg: string): [number, number, number] {
  const [one, five, fifteen] = (/^(\d+\.\d+ \d+\.\d+ \d+\.\d+)/.exec(loadavg)?.[1] ?? '').split(' ').map(Number);
  if (one === undefined || five === undefined || fifteen === undefined)
    throw new Error('/proc/loadavg holds no three numbers');
  return [one, five, fifteen];
}

export function parseSwap(meminfo: string): { swapBytes: number; swapUsedBytes: number } {
  const kib = (key: string): number => Number(new RegExp(`^${key}: +(\\d+) kB$`, 'm').exec(meminfo)?.[1] ?? 0) * 1024;
  const swapBytes = kib('SwapTotal');
  return { swapBytes, swapUsedBytes: Math.max(0, swapBytes - kib('SwapFree')) };
}

type DiskCounters = Pick<MachineCounters, 'diskReadBytes' | 'diskWriteBytes' | 'diskReads' | 'diskWrites'>;
/** The kernel counts in these, whatever the device's own are. */
const SECTOR_BYTES = 512;

/** /proc/diskstats added up over those that `counts`: partitions and what lies above disks would count twice. */
export async function parseDisks(diskstats: string, counts: (name: string) => Promise<boolean>): Promise<DiskCounters> {
  const sum = { diskReadBytes: 0, diskWriteBytes: 0, diskReads: 0, diskWrites: 0 };
  for (const line of diskstats.split('\n')) {
    const [, , name = '', reads = '', , readSectors = '', , writes = '', , writeSectors = ''] = line.trim().split(/ +/);
    if (writeSectors === '' || !(await counts(name))) continue;
    sum.diskReads += Number(reads);
    sum.diskWrites += Number(writes);
    sum.diskReadBytes += Number(readSectors) * SECTOR_BYTES;
    sum.diskWriteBytes += Number(writeSectors) * SECTOR_BYTES;
  }
  return sum;
}

/** /proc/net/dev. */
export function parseNics(dev: string): Omit<NicCounters, 'kind'>[] {
  return dev.split('\n').flatMap((line) => {
    const [, name, numbers = ''] = /^ *(\S+?): *([\d ]+)$/.exec(line) ?? [];
    const n = numbers.trim().split(/ +/).map(Number);
    if (name === undefined || n.length < 12) return [];
    const at = (i: number): number => n[i] ?? 0;
    return {
      name,
      ...{ receiveBytes: at(0), receivePackets: at(1), transmitBytes: at(8), transmitPackets: at(9) },
      ...{ errors: at(2) + at(10), drops: at(3) + at(11) },
    };
  });
}
