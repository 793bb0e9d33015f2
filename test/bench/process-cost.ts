/** What a process costs, as Linux counts it: CPU time of all its threads, and resident memory. */
import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { systemClock } from '@berth/shared/runtime/clock.ts';

/** Reads a file of /proc, of this machine or of another. */
export type ReadProc = (path: string) => Promise<string>;

export interface Cost {
  readonly atMs: number;
  readonly cpuMs: number;
  readonly rssBytes: number;
  /** As rssBytes, but what it shares with other processes (Node's own code) counts in parts. */
  readonly pssBytes: number;
  /** What goes when it ends: memory that no other process and no file has. */
  readonly ownBytes: number;
}

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK']).toString());
const here: ReadProc = (path) => readFile(path, 'utf8');

export async function costOf(pid: number, read: ReadProc = here): Promise<Cost> {
  const files = ['stat', 'status', 'smaps_rollup'].map((name) => read(`/proc/${pid}/${name}`));
  const [stat = '', status = '', maps = ''] = await Promise.all(files);
  // after the name in brackets, which may hold blanks: state is field 3, utime 14, stime 15
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  const rssBytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  const pssBytes = Number(/^Pss:\s+(\d+) kB$/m.exec(maps)?.[1]) * 1024;
  const ownBytes = Number(/^Private_Dirty:\s+(\d+) kB$/m.exec(maps)?.[1]) * 1024;
  return { atMs: performance.now(), cpuMs: (ticks * 1000) / TICKS_PER_SECOND, rssBytes, pssBytes, ownBytes };
}

export interface Use {
  readonly forMs: number;
  readonly cpuMs: number;
  /** Of one core. */
  readonly cpuPercent: number;
  readonly rssBytes: number;
  readonly pssBytes: number;
  readonly ownBytes: number;
}

export function between(before: Cost, after: Cost): Use {
  const forMs = after.atMs - before.atMs;
  const cpuMs = after.cpuMs - before.cpuMs;
  const sizes = { rssBytes: after.rssBytes, pssBytes: after.pssBytes, ownBytes: after.ownBytes };
  return { forMs, cpuMs, cpuPercent: (100 * cpuMs) / forMs, ...sizes };
}

/** Watches processes for a while, all at once; in the order given. */
export async function useOf(
  forMs: number,
  processes: readonly { readonly pid: number; readonly read?: ReadProc }[],
): Promise<readonly Use[]> {
  const look = (): Promise<Cost[]> => Promise.all(processes.map((p) => costOf(p.pid, p.read)));
  const before = await look();
  await systemClock.sleep(forMs);
  const after = await look();
  return before.map((b, i) => between(b, after[i] as Cost));
}
