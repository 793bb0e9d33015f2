/** How busy this machine is: counters of processors, disks and network cards, and its memory. load-texts.ts reads the texts. */
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock, type Clock } from '@berth/shared/runtime/clock.ts';
import type { MachineLoad, NicCounters } from '../machine.ts';
import {
  countCpus,
  OF_GUESTS,
  parseCpuParts,
  parseCpuSeconds,
  parseDisks,
  parseLoads,
  parseNics,
  parseSwap,
  type CpuParts,
} from './load-texts.ts';
import { cpuShare, parseMemory } from './procfs.ts';

/** A host of containers may have hundreds that say nothing of it. */
const MOST_NICS = 64;
const ORDER: readonly NicCounters['kind'][] = ['physical', 'bond', 'bridge', 'vlan', 'virtual'];

/** @param root where the files of the machine are looked for. */
export function createLoad(root: string, clock: Clock = systemClock): () => Promise<MachineLoad> {
  // of the kernel's memory, which does not wait: a thread for each would cost more than the reading
  const text = (path: string): string => readFileSync(join(root, path), 'utf8');
  const textOr = (path: string): string => {
    try {
      return text(path);
    } catch {
      return '';
    }
  };
  const there = (path: string): Promise<boolean> =>
    stat(join(root, path)).then(
      () => true,
      () => false,
    );
  const kindOf = remembered(async (name): Promise<NicCounters['kind']> => {
    const type = /^DEVTYPE=(bridge|bond|vlan)$/m.exec(textOr(`/sys/class/net/${name}/uevent`))?.[1];
    if (type !== undefined) return type as 'bridge' | 'bond' | 'vlan';
    return (await there(`/sys/class/net/${name}/device`)) ? 'physical' : 'virtual';
  });
  const isDisk = remembered((name) => there(`/sys/block/${name}/device`));
  let before: CpuParts = { busy: 0, total: 0, iowait: 0, steal: 0 };

  return async () => {
    const stat = text('/proc/stat');
    const now = parseCpuParts(stat);
    const meminfo = text('/proc/meminfo');
    const memory = parseMemory(meminfo);
    const [load1, load5, load15] = parseLoads(text('/proc/loadavg'));
    const part = (of: 'iowait' | 'steal'): number =>
      cpuShare({ busy: before[of], total: before.total }, { busy: now[of], total: now.total });
    const shares = { cpuUsed: cpuShare(before, now), cpuIowait: part('iowait'), cpuSteal: part('steal') };
    before = now;
    const nics = await kinds(parseNics(textOr('/proc/net/dev')), kindOf);
    const disks = await parseDisks(textOr('/proc/diskstats'), isDisk);
    const { cpuUsed, cpuIowait, cpuSteal } = shares;
    const more = { cpuIowait, cpuSteal, load5, load15, memoryBytes: memory.totalBytes, ...parseSwap(meminfo) };
    return {
      ...{ cpuUsed, load1, memoryUsedBytes: memory.totalBytes - memory.availableBytes },
      more: {
        ...{ atMs: clock.monotonic(), cpus: countCpus(stat), cpuSeconds: parseCpuSeconds(stat) },
        ...{ ...more, ...disks, nics },
      },
    };
  };
}

async function kinds(
  all: readonly Omit<NicCounters, 'kind'>[],
  kindOf: (name: string) => Promise<NicCounters['kind']>,
): Promise<NicCounters[]> {
  const own = all.filter((n) => !OF_GUESTS.test(n.name));
  const known = await Promise.all(own.map(async (n) => ({ ...n, kind: await kindOf(n.name) })));
  return known
    .filter((n) => n.kind !== 'virtual' || n.receiveBytes + n.transmitBytes > 0)
    .sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind))
    .slice(0, MOST_NICS);
}

const MOST_REMEMBERED = 4_096;

/** A device does not change its kind while it keeps its name, as good as never. */
function remembered<T>(look: (name: string) => Promise<T>): (name: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (name) => {
    const before = known.get(name);
    if (before !== undefined) return before;
    if (known.size >= MOST_REMEMBERED) known.clear();
    const found = look(name);
    known.set(name, found);
    return found;
  };
}
