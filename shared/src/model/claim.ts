/** A claim: what a VM takes of a host, from the moment of placement until it is removed. Plain data. */
import type { HostId, VmId } from './ids.ts';

export interface Claim {
  readonly vmId: VmId;
  readonly hostId: HostId;
  readonly vcpus: number;
  readonly memoryBytes: number;
  /** What its thin disks in pool `local` may grow to. */
  readonly diskBytes: number;
  /** The same in other pools, by their ids. */
  readonly poolBytes?: Readonly<Record<string, number>> | undefined;
  /** Size of the large pages that its memory is made of; absent: it is not. */
  readonly pageBytes?: number | undefined;
  /** CPU and memory count only while it runs, starts or stops; disk always. */
  readonly powered: boolean;
}

/** What some guests come to together. */
export interface GuestSum {
  readonly guests: number;
  readonly vcpus: number;
  /** Without what is made of large pages. */
  readonly memoryBytes: number;
}

/** What it takes of memory that is not kept for large pages. */
export const plainBytes = (g: Pick<Claim, 'memoryBytes' | 'pageBytes'>): number =>
  g.pageBytes === undefined ? g.memoryBytes : 0;

/** Sums that are kept up with, so that nobody has to add up thousands of claims to place one VM. */
export class ClaimSums {
  readonly all = { guests: 0, vcpus: 0, memoryBytes: 0 };
  /** Of those that run, start or stop. */
  readonly powered = { guests: 0, vcpus: 0, memoryBytes: 0 };
  /** Of those that run, start or stop: memory in large pages, by their size. */
  readonly poweredLarge = new Map<number, number>();
  /** In pool `local`. */
  diskBytes = 0;
  readonly poolBytes = new Map<string, number>();

  static of(claims: Iterable<Summed>): ClaimSums {
    const sums = new ClaimSums();
    for (const c of claims) sums.add(c, 1);
    return sums;
  }

  /** @param sign -1 takes it away. */
  add(c: Summed, sign: 1 | -1): void {
    for (const sum of c.powered ? [this.all, this.powered] : [this.all]) {
      sum.guests += sign;
      sum.vcpus += sign * c.vcpus;
      sum.memoryBytes += sign * plainBytes(c);
    }
    if (c.powered && c.pageBytes !== undefined)
      this.poweredLarge.set(c.pageBytes, (this.poweredLarge.get(c.pageBytes) ?? 0) + sign * c.memoryBytes);
    this.diskBytes += sign * c.diskBytes;
    for (const [pool, bytes] of Object.entries(c.poolBytes ?? {}))
      this.poolBytes.set(pool, (this.poolBytes.get(pool) ?? 0) + sign * bytes);
  }
}

type Summed = Pick<Claim, 'vcpus' | 'memoryBytes' | 'pageBytes' | 'diskBytes' | 'poolBytes' | 'powered'>;
