import { describe, expect, it } from 'vitest';
import { ClaimSums } from '@berth/shared/model/claim.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { allMemoryBytes, largePagesBytes, withLargePages } from './capacity.ts';
import { firstRefusal } from './filters.ts';
import { DEFAULT_POLICY, type PlacementRequest, type WorldHost } from './world.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const facts = (largePages: HostFacts['largePages']): HostFacts =>
  ({ memoryBytes: 64 * GIB, ...(largePages ? { largePages } : {}) }) as HostFacts;
const all = (f: HostFacts) => allMemoryBytes(f, DEFAULT_POLICY);

describe('memory that is kept for large pages', () => {
  it('is not there for other VMs', () => {
    expect(all(facts(undefined)) - all(facts([{ sizeBytes: 2 * MIB, total: 4096, free: 4096 }]))).toBe(8 * GIB);
    expect(all(facts([{ sizeBytes: GIB, total: 64, free: 0 }]))).toBe(0);
    const lie = { sizeBytes: Number.MAX_SAFE_INTEGER, total: Number.MAX_SAFE_INTEGER, free: 0 };
    expect(largePagesBytes(facts([lie]))).toBe(64 * GIB);
  });

  it('counts from the moment when it shall be kept, and as long as it is', () => {
    const seen = facts([
      { sizeBytes: 2 * MIB, total: 512, free: 512 },
      { sizeBytes: GIB, total: 4, free: 1 },
    ]);
    expect(largePagesBytes(withLargePages(seen, undefined))).toBe(5 * GIB);
    expect(largePagesBytes(withLargePages(seen, { 'hugepages/2MiB': '1024', ksm: 'on' }))).toBe(6 * GIB);
    // fewer shall be kept, but they are still there
    expect(largePagesBytes(withLargePages(seen, { 'hugepages/1GiB': '1' }))).toBe(5 * GIB);
    expect(largePagesBytes(withLargePages(facts(undefined), { 'hugepages/1GiB': '2' }))).toBe(2 * GIB);
  });
});

describe('a VM whose memory is made of large pages', () => {
  const id = 'host-1' as HostId;
  const claim = (memoryBytes: number, pageBytes?: number, powered = true) => ({
    ...{ vcpus: 1, memoryBytes, diskBytes: 0, powered },
    ...(pageBytes === undefined ? {} : { pageBytes }),
  });
  const host = (...claims: ReturnType<typeof claim>[]): WorldHost =>
    ({
      ...{ id, name: 'h1', state: 'up', bridges: [], labels: {}, allocatedBytes: 0, diskFreeBytes: 2 ** 40 },
      facts: {
        ...{
          domainType: 'kvm',
          cpuThreads: 64,
          memoryBytes: 64 * GIB,
          diskBytes: 2 ** 40,
          capabilities: [],
          checks: [],
        },
        largePages: [{ sizeBytes: GIB, total: 48, free: 48 }],
      },
      ...{ claims: ClaimSums.of(claims), foreign: new ClaimSums() },
    }) as unknown as WorldHost;
  const request = (memoryBytes: number, pageBytes?: number, own?: object): PlacementRequest =>
    ({
      ...{ vcpus: 1, memoryBytes, pageBytes, own, diskBytes: 0 },
      ...{ bridges: [], capabilities: [], hostLabels: [] },
    }) as unknown as PlacementRequest;
  const why = (h: WorldHost, r: PlacementRequest): string => {
    const { name = '', why: words = '' } = firstRefusal(h, r, DEFAULT_POLICY) ?? {};
    return `${name} ${typeof words === 'string' ? words : words(h, r, DEFAULT_POLICY)}`.trim();
  };

  it('takes those, and of other memory what QEMU needs', () => {
    expect(why(host(), request(48 * GIB, GIB))).toBe('');
    expect(why(host(), request(20 * GIB))).toMatch(/^memory 15 GiB in all \(without 48 GiB in large pages\)/);
    // other guests have all other memory, and QEMU has to have some
    expect(why(host(claim(14.7 * GIB)), request(GIB, GIB))).toMatch(/^memory .* wanted \(104 MiB of it for QEMU\)/);
  });

  it('goes where enough of its size are not promised to guests that run', () => {
    expect(why(host(claim(40 * GIB, GIB)), request(10 * GIB, GIB))).toBe(
      'hugepages 8 GiB free of 10 GiB wanted in pages of 1 GiB: berth host tune h1 --hugepages',
    );
    expect(why(host(claim(40 * GIB, GIB, false)), request(10 * GIB, GIB))).toBe('');
    expect(why(host(), request(GIB, 2 * MIB))).toMatch(/^hugepages 0 B free of 1 GiB wanted in pages of 2 MiB/);
  });

  it('does not go where they shall be and are not yet', () => {
    const soon = host();
    const wanted = withLargePages(soon.facts!, { 'hugepages/2MiB': '1024' });
    expect(why({ ...soon, facts: wanted }, request(GIB, 2 * MIB))).toMatch(/^hugepages 0 B free/);
  });

  it('is not counted against itself', () => {
    const own = { ...claim(40 * GIB, GIB), hostId: id };
    expect(why(host(own), request(48 * GIB, GIB, own))).toBe('');
  });

  it('leaves the sums as they were when it goes', () => {
    const sums = ClaimSums.of([claim(GIB, GIB), claim(2 * GIB)]);
    expect([sums.all.memoryBytes, sums.poweredLarge.get(GIB)]).toEqual([2 * GIB, GIB]);
    sums.add(claim(GIB, GIB), -1);
    expect([sums.all.memoryBytes, sums.poweredLarge.get(GIB), sums.all.guests]).toEqual([2 * GIB, 0, 1]);
  });
});
