/** Reads what the kernel tells in text files. Pure: text in, numbers out; machine.ts opens the files. */

export interface CpuTimes {
  readonly busy: number;
  readonly total: number;
}

/** First line of /proc/stat: time since boot of all processors together, in ticks. */
export function parseCpuTimes(stat: string): CpuTimes {
  const line = /^cpu +([\d ]+)$/m.exec(stat)?.[1];
  if (line === undefined) throw new Error('/proc/stat has no line for all processors');
  // user nice system idle iowait irq softirq steal; guest times are contained in the first two
  const times = line.trim().split(/ +/).slice(0, 8).map(Number);
  const total = times.reduce((sum, t) => sum + t, 0);
  return { total, busy: total - (times[3] ?? 0) - (times[4] ?? 0) };
}

/** Share of CPU time between two readings; 0 when no time has passed. */
export function cpuShare(before: CpuTimes, now: CpuTimes): number {
  const total = now.total - before.total;
  return total <= 0 ? 0 : Math.min(1, Math.max(0, (now.busy - before.busy) / total));
}

export interface Memory {
  readonly totalBytes: number;
  readonly availableBytes: number;
}

export function parseMemory(meminfo: string): Memory {
  const kib = (key: string): number | undefined => {
    const text = new RegExp(`^${key}: +(\\d+) kB$`, 'm').exec(meminfo)?.[1];
    return text === undefined ? undefined : Number(text) * 1024;
  };
  const totalBytes = kib('MemTotal');
  if (totalBytes === undefined) throw new Error('/proc/meminfo tells no MemTotal');
  return { totalBytes, availableBytes: kib('MemAvailable') ?? kib('MemFree') ?? 0 };
}

export interface Cpu {
  readonly model: string;
  readonly threads: number;
  readonly flags: ReadonlySet<string>;
}

export function parseCpu(cpuinfo: string): Cpu {
  const value = (key: string): string | undefined => new RegExp(`^${key}\\s*: (.*)$`, 'm').exec(cpuinfo)?.[1]?.trim();
  return {
    model: value('model name') ?? value('Model') ?? value('Hardware') ?? 'unknown',
    threads: Math.max(1, [...cpuinfo.matchAll(/^processor\s*:/gm)].length),
    flags: new Set((value('flags') ?? value('Features') ?? '').split(' ').filter((f) => f !== '')),
  };
}

/** PRETTY_NAME of /etc/os-release. */
export function parseOsName(osRelease: string): string {
  const raw = /^PRETTY_NAME=(.*)$/m.exec(osRelease)?.[1]?.trim() ?? 'Linux';
  return raw.replace(/^(["'])(.*)\1$/, '$2');
}

/** When process 1 started, in ticks since boot: field 22 of /proc/1/stat. */
export function parseStartTicks(stat: string): string {
  // the command's name may hold anything, also parentheses and spaces
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return /^\d+$/.test(fields[19] ?? '') ? (fields[19] as string) : '0';
}

export type CgroupVersion = 'v2' | 'v1' | 'none';

/** From /proc/self/mountinfo. A machine with both counts as v1, because that is where the controllers are. */
export function parseCgroups(mountinfo: string): CgroupVersion {
  const types = mountinfo.split('\n').map((line) => / - (\S+)/.exec(line)?.[1]);
  if (types.includes('cgroup')) return 'v1';
  return types.includes('cgroup2') ? 'v2' : 'none';
}
