/** Sockets, cores and threads, and the NUMA nodes they lie in, below /sys/devices/system. */
import { MOST_OF_A_KIND, type CpuInventory, type NumaNode } from '@berth/shared/model/inventory.ts';
import { parseCpu } from '../procfs.ts';
import type { RootFiles } from '../root-files.ts';
import { each } from './each.ts';
import { natural, words } from './numbers.ts';

const CPUS = '/sys/devices/system/cpu';
const NODES = '/sys/devices/system/node';

export async function readCpu(files: RootFiles): Promise<CpuInventory> {
  const { model, threads } = parseCpu(await files.all('/proc/cpuinfo').catch(() => ''));
  const names = (await files.names(CPUS)).filter((n) => /^cpu\d+$/.test(n));
  // a CPU that is offline has no topology
  const places = await each(names, async (name) => {
    const at = (file: string) => files.line(`${CPUS}/${name}/topology/${file}`);
    const core = natural(await at('core_id'));
    if (core === undefined) return undefined;
    const socket = natural(await at('physical_package_id')) ?? 0;
    return { socket, core: `${socket}/${await at('die_id')}/${core}` };
  });
  return {
    model: words(model),
    threads: places.length || threads,
    cores: new Set(places.map((p) => p.core)).size || threads,
    sockets: new Set(places.map((p) => p.socket)).size || 1,
  };
}

/** Empty on a kernel without NUMA. */
export async function readNuma(files: RootFiles): Promise<NumaNode[]> {
  const names = (await files.names(NODES)).filter((n) => /^node\d{1,4}$/.test(n)).slice(0, MOST_OF_A_KIND.numa);
  const nodes = await each(names, async (name): Promise<NumaNode> => {
    const { totalBytes, freeBytes } = parseNodeMemory(await files.text(`${NODES}/${name}/meminfo`));
    return {
      id: Number(name.slice(4)),
      cpus: (await files.line(`${NODES}/${name}/cpulist`)).replace(/[^\d,-]/g, '').slice(0, 512),
      memoryBytes: totalBytes,
      freeBytes,
      distances: parseDistances(await files.line(`${NODES}/${name}/distance`)),
    };
  });
  return nodes.sort((a, b) => a.id - b.id);
}

/** `Node 0 MemTotal:       24684096 kB` */
export function parseNodeMemory(meminfo: string): { readonly totalBytes: number; readonly freeBytes: number } {
  const kib = (key: string): number =>
    Number(new RegExp(`^Node \\d+ ${key}: +(\\d{1,12}) kB$`, 'm').exec(meminfo)?.[1] ?? 0);
  const totalBytes = kib('MemTotal') * 1024;
  return { totalBytes, freeBytes: Math.min(totalBytes, kib('MemFree') * 1024) };
}

const parseDistances = (line: string): number[] =>
  line
    .split(/\s+/)
    .map(natural)
    .filter((n) => n !== undefined)
    .slice(0, MOST_OF_A_KIND.numa);
