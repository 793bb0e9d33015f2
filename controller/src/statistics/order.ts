/** In which order statistics are told: the highest first, or by name. Pure. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';

const SORTS = ['cpu', 'memory', 'disk', 'net', 'name'] as const;
export type Sort = (typeof SORTS)[number];

export interface Sortable {
  readonly name: string;
  readonly cpu: number;
  /** `cpu` in CPUs, where it is a share of several. */
  readonly cpuInCpus?: number;
  readonly cpus: number;
  readonly memory: number;
  readonly memoryOf: number;
  readonly diskRead: number;
  readonly diskWrite: number;
  readonly netReceive: number;
  readonly netTransmit: number;
}

export function readSort(text: string): Sort {
  const sort = SORTS.find((s) => s === text);
  if (sort === undefined) throw invalidArgument(`sort ${text.slice(0, 40)}: known are ${SORTS.join(', ')}`);
  return sort;
}

const VALUE: Readonly<Record<Exclude<Sort, 'name'>, (r: Sortable) => number>> = {
  cpu: (r) => r.cpu,
  memory: (r) => r.memory,
  disk: (r) => r.diskRead + r.diskWrite,
  net: (r) => r.netReceive + r.netTransmit,
};

const { compare: inOrder } = new Intl.Collator('en', { numeric: true });
const byName = (a: Sortable, b: Sortable): number => inOrder(a.name, b.name);
const MOST = 5_000;
const DEFAULT = 100;

/**
 * Adds rows one after another and keeps the first `limit` of them, without ever sorting all.
 * @param limit 0: 100.
 */
export class First<R extends Sortable> {
  private kept: R[] = [];
  /** Of the last one that is kept, once there are enough: what is less comes too late. */
  private least = -Infinity;
  private readonly value: (r: R) => number;
  private readonly limit: number;
  private readonly compare: (a: R, b: R) => number;
  readonly total = {
    ...{ count: 0, cpu: 0, cpus: 0, memory: 0, memoryOf: 0 },
    ...{ diskRead: 0, diskWrite: 0, netReceive: 0, netTransmit: 0 },
  };

  constructor(sort: Sort, limit: number) {
    this.limit = Math.min(MOST, limit || DEFAULT);
    const value = sort === 'name' ? () => 0 : VALUE[sort];
    this.value = value;
    this.compare = (a, b) => value(b) - value(a) || byName(a, b);
  }

  add(r: R): void {
    const { total } = this;
    total.count++;
    total.cpu += r.cpuInCpus ?? r.cpu;
    total.cpus += r.cpus;
    total.memoryOf += r.memoryOf;
    total.memory += r.memory;
    total.diskRead += r.diskRead;
    total.diskWrite += r.diskWrite;
    total.netReceive += r.netReceive;
    total.netTransmit += r.netTransmit;
    if (this.value(r) < this.least) return;
    this.kept.push(r);
    if (this.kept.length >= 2 * this.limit + 64) this.cut();
  }

  take(): readonly R[] {
    this.cut();
    return this.kept;
  }

  private cut(): void {
    this.kept = this.kept.sort(this.compare).slice(0, this.limit);
    const last = this.kept[this.limit - 1];
    if (last !== undefined) this.least = this.value(last);
  }
}
