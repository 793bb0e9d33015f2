import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import { claimOn, facts, GIB, worldHost } from '../../../test/harness/world-builder.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClaimSums, type Claim } from '@berth/shared/model/claim.ts';
import { allMemoryBytes, allVcpus, diskRoomBytes, takenMemoryBytes, takenVcpus } from './capacity.ts';
import { firstRefusal } from './filters.ts';
import { place, refusals } from './place.ts';
import { better, cost, saltOf } from './score.ts';
import { DEFAULT_POLICY, type PlacementRequest, type World, type WorldHost } from './world.ts';

const MIB = 1024 * 1024;
const request = (over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  vmId: 'vm-new' as VmId,
  own: undefined,
  vcpus: 1,
  memoryBytes: GIB,
  diskBytes: 10 * GIB,
  image: undefined,
  bridges: ['br0'],
  capabilities: [],
  hostLabels: [],
  hostId: undefined,
  ...over,
});
const world = (...hosts: WorldHost[]): World => ({ policy: DEFAULT_POLICY, hosts });
const why = (hosts: WorldHost[], over: Partial<PlacementRequest> = {}): string[] =>
  refusals(world(...hosts), request(over)).map((r) => `${r.host} ${r.filter} ${r.detail}`);

const sums = (...claims: Claim[]): ClaimSums => ClaimSums.of(claims);

function copyOf(s: ClaimSums): ClaimSums {
  const copy = new ClaimSums();
  Object.assign(copy.all, s.all);
  Object.assign(copy.powered, s.powered);
  copy.diskBytes = s.diskBytes;
  return copy;
}

/** Places VM after VM as the jobs do: the claim is taken before the next one is asked for. */
function fill(start: World, requests: readonly PlacementRequest[]): { world: World; placed: string[] } {
  const placed: string[] = [];
  const hosts = start.hosts.map((h) => ({ ...h, claims: copyOf(h.claims) }));
  for (const r of requests) {
    const answer = place({ ...start, hosts }, r);
    if (!('hostId' in answer)) continue;
    const host = hosts.find((h) => h.id === answer.hostId);
    const { vcpus, memoryBytes, diskBytes } = r;
    host?.claims.add({ vcpus, memoryBytes, diskBytes, powered: true }, 1);
    placed.push(host?.name ?? '');
  }
  return { world: { ...start, hosts }, placed };
}

describe('CPUs of guests', () => {
  const cpu = (model: string, all: readonly string[], models: readonly string[]) => ({
    ...{ model, vendor: '', features: [], all, models },
  });
  const old = cpu('Westmere', ['lm', 'aes'], ['Westmere']);
  const young = cpu('Haswell', ['lm', 'aes', 'avx2'], ['Westmere', 'Haswell']);
  const hosts = [
    worldHost('old', { facts: facts({ domainType: 'kvm', cpu: old }) }),
    worldHost('young', { facts: facts({ domainType: 'kvm', cpu: young }) }),
  ];

  it('of a cluster are looked for on each host, and what is lacking is named', () => {
    expect(why(hosts, { cpu: { baseline: young } })).toEqual([
      "old cpu-model below the cluster's CPU (Haswell): lacks avx2",
    ]);
    expect(why(hosts, { cpu: { baseline: old } })).toEqual([]);
    const silent = worldHost('silent', { facts: facts() });
    expect(why([silent], { cpu: { baseline: old } })).toEqual([
      expect.stringMatching(/^silent cpu-model does not tell/),
    ]);
  });

  it('that are named are only where they can be had, but QEMU emulates what it can of any', () => {
    expect(why(hosts, { cpu: { model: 'Haswell' } })).toEqual(['old cpu-model its guests cannot have CPU Haswell']);
    const emulating = worldHost('e', { facts: facts({ domainType: 'qemu', cpu: old }) });
    expect(why([emulating], { cpu: { model: 'Haswell' } })).toEqual([]);
  });
});

describe('explanations', () => {
  it('name the first reason per host, with numbers in words', () => {
    const small = worldHost('small', { facts: facts({ memoryBytes: 2 * GIB, cpuThreads: 2 }) });
    const hosts = [
      worldHost('away', { state: 'unreachable', stateReason: 'unreachable for 12 s' }),
      worldHost('new', { state: 'enrolling' }),
      worldHost('mute', { facts: undefined }),
      worldHost('resting', { state: 'maintenance', maintenance: true, stateReason: 'since 09:12' }),
      worldHost('broken', {
        facts: facts({ checks: [{ name: 'kvm', ok: false, fatal: true, detail: 'load kvm_amd' }] }),
      }),
      worldHost('unlabelled'),
      worldHost('unbridged', { labels: { zone: 'b' }, bridges: [] }),
      worldHost('nocap', { labels: { zone: 'b' } }),
      worldHost('cores', { ...cap(), facts: facts({ cpuThreads: 2, capabilities: ['uefi', 'image.fetch'] }) }),
      worldHost('busy', {
        ...cap(),
        claims: sums(claimOn(small, 'a', { vcpus: 30 })),
        facts: facts({ capabilities: ['uefi', 'image.fetch'] }),
      }),
      worldHost('small', { ...cap(), facts: facts({ memoryBytes: 2 * GIB, capabilities: ['uefi', 'image.fetch'] }) }),
      worldHost('full', {
        ...cap(),
        facts: facts({ capabilities: ['uefi', 'image.fetch'] }),
        claims: sums(claimOn(small, 'a', { memoryBytes: 12 * GIB, diskBytes: 0 })),
      }),
      worldHost('nodisk', {
        ...cap(),
        facts: facts({ capabilities: ['uefi', 'image.fetch'] }),
        diskFreeBytes: 20 * GIB,
        claims: sums(claimOn(small, 'a', { diskBytes: 11 * GIB })),
      }),
    ];
    const wanted = {
      vcpus: 4,
      memoryBytes: 4 * GIB,
      capabilities: ['uefi'],
      hostLabels: [['zone', 'b']] as const,
      image: { hosts: new Set<HostId>(), fileBytes: 2 * GIB },
    };
    expect(why(hosts, wanted)).toMatchInlineSnapshot(`
      [
        "away state unreachable for 12 s",
        "broken check kvm: load kvm_amd",
        "busy cpu 2 vCPU free of 4 wanted (8 threads, overcommit 4.0)",
        "cores cpu 2 threads, 4 vCPU wanted",
        "full memory 3.2 GiB free of 4.1 GiB wanted (144 MiB of it for QEMU)",
        "mute state has not reported what it has yet",
        "new state has not enrolled yet",
        "nocap capability lacks uefi",
        "nodisk disk 7 GiB free of 12 GiB wanted (2 GiB of it for the image)",
        "resting maintenance in maintenance",
        "small memory 1.5 GiB in all, 4.1 GiB wanted (144 MiB of it for QEMU)",
        "unbridged bridge has no bridge br0",
        "unlabelled label zone=b required",
      ]
    `);
  });

  it('tell of the one host only when one was asked for', () => {
    const [a, b] = [worldHost('a', { maintenance: true }), worldHost('b')];
    expect(why([a, b], { hostId: a.id })).toEqual(['a maintenance in maintenance']);
  });
});

const cap = (): Partial<WorldHost> => ({ labels: { zone: 'b' } });

describe('placement', () => {
  const empty = ['h1', 'h2', 'h3'].map((n) => worldHost(n));

  it('puts the first two VMs of an empty cluster on different hosts, whoever has the image', () => {
    const hosts = empty;
    const image = { hosts: new Set(hosts.slice(0, 1).map((h) => h.id)), fileBytes: GIB };
    const big = hosts.map((h) => ({ ...h, facts: facts({ cpuThreads: 128, memoryBytes: 1024 * GIB }) }));
    for (const some of [hosts, big]) {
      const both = ['web', 'db'].map((n) => request({ vmId: `vm-${n}` as VmId, image, memoryBytes: 512 * MIB }));
      const { placed } = fill(world(...some), both);
      expect(placed[0]).toBe('h1');
      expect(placed[1]).not.toBe('h1');
    }
  });

  it('fills equal hosts evenly', () => {
    const many = Array.from({ length: 21 }, (_, i) => request({ vmId: `vm-${i}` as VmId, diskBytes: GIB }));
    const { placed } = fill(world(...empty), many);
    const counts = empty.map((h) => placed.filter((p) => p === h.name).length);
    expect(counts).toEqual([7, 7, 7]);
  });

  it('counts stopped VMs when it balances, but not against capacity', () => {
    const [h1, h2] = [worldHost('h1'), worldHost('h2')];
    const stopped = claimOn(h1, 'off', { memoryBytes: 14 * GIB, powered: false });
    const one = { ...h1, claims: sums(stopped) };
    expect(place(world(one, h2), request())).toEqual({ hostId: h2.id });
    expect(place(world(one), request({ memoryBytes: 8 * GIB }))).toEqual({ hostId: h1.id });
  });

  it('counts what thin disks hold already as room for their own growth', () => {
    const h = worldHost('h1', { diskFreeBytes: 20 * GIB });
    const grown = { ...h, allocatedBytes: 30 * GIB, claims: sums(claimOn(h, 'a', { diskBytes: 30 * GIB })) };
    expect(place(world(grown), request({ diskBytes: 15 * GIB }))).toEqual({ hostId: h.id });
  });

  it('does not count the claim of the VM that is placed again', () => {
    const h = worldHost('h1');
    const own = claimOn(h, 'new', { memoryBytes: 12 * GIB, diskBytes: 90 * GIB });
    const full = { ...h, claims: sums(own) };
    const again = { memoryBytes: 12 * GIB, diskBytes: 90 * GIB };
    expect(place(world(full), request({ ...again, own }))).toEqual({ hostId: h.id });
    expect(place(world(full), request(again))).toHaveProperty('refusals');
  });
});

const IMAGE_AT = new Set(['h0', 'h3'].map((n) => worldHost(n).id));

describe('properties', () => {
  const bytes = (maxGiB: number): fc.Arbitrary<number> =>
    fc.integer({ min: 0, max: maxGiB * 16 }).map((n) => (n * GIB) / 16);
  const host = fc.record({
    threads: fc.integer({ min: 1, max: 64 }),
    memory: bytes(64),
    disk: bytes(500),
    used: fc.double({ min: 0, max: 1, noNaN: true }),
    state: fc.constantFrom('up', 'up', 'up', 'up', 'unreachable', 'maintenance') as fc.Arbitrary<'up'>,
    foreign: fc.array(
      fc.record({ memoryBytes: bytes(8), vcpus: fc.integer({ min: 1, max: 8 }), powered: fc.boolean() }),
      { maxLength: 2 },
    ),
  });
  const hosts = fc.array(host, { minLength: 1, maxLength: 6 }).map((all) =>
    all.map((h, i) =>
      worldHost(`h${i}`, {
        state: h.state,
        maintenance: (h.state as string) === 'maintenance',
        facts: facts({ cpuThreads: h.threads, memoryBytes: h.memory, diskBytes: h.disk }),
        diskFreeBytes: Math.floor(h.disk * h.used),
        foreign: ClaimSums.of(h.foreign.map((f) => ({ ...f, diskBytes: 0 }))),
      }),
    ),
  );
  const vm = fc.record({ vcpus: fc.integer({ min: 1, max: 16 }), memoryBytes: bytes(16), diskBytes: bytes(50) });
  const requests = fc
    .array(vm, { minLength: 1, maxLength: 30 })
    .map((all) =>
      all.map((v, i) => request({ ...v, vmId: `vm-${i}` as VmId, image: { hosts: IMAGE_AT, fileBytes: GIB } })),
    );

  it('never promise more than a host has', () => {
    fc.assert(
      fc.property(hosts, requests, (hs, rs) => {
        for (const h of fill(world(...hs), rs).world.hosts) {
          if (h.claims.all.guests === 0 || !h.facts) continue;
          expect(takenVcpus(h, 'powered', undefined)).toBeLessThanOrEqual(allVcpus(h.facts, DEFAULT_POLICY));
          const memory = takenMemoryBytes(h, h.facts, 'powered', undefined);
          expect(memory).toBeLessThanOrEqual(allMemoryBytes(h.facts, DEFAULT_POLICY));
          expect(diskRoomBytes(h, h.facts, DEFAULT_POLICY, undefined)).toBeGreaterThanOrEqual(0);
          expect(h.claims.diskBytes).toBeLessThanOrEqual(h.diskFreeBytes);
        }
      }),
    );
  });

  it('give the same answer whatever order the hosts come in', () => {
    fc.assert(
      fc.property(hosts, requests, fc.integer(), (hs, rs, seed) => {
        const shuffled = [...hs].sort(
          (a, b) => ((a.name.charCodeAt(1) * 7919 + seed) % 13) - ((b.name.charCodeAt(1) * 7919 + seed) % 13),
        );
        expect(fill(world(...shuffled), rs).placed).toEqual(fill(world(...hs), rs).placed);
        expect(place(world(...shuffled), request({ memoryBytes: 900 * GIB }))).toEqual(
          place(world(...hs), request({ memoryBytes: 900 * GIB })),
        );
      }),
    );
  });

  it('choose as if every host had been asked whether it will do', () => {
    fc.assert(
      fc.property(hosts, requests, (hs, rs) => {
        const filled = fill(world(...hs), rs.slice(1)).world;
        const r = rs[0] as PlacementRequest;
        const salt = saltOf(r.vmId ?? '');
        const rank = (h: WorldHost): number => cost(h, h.facts!, r, DEFAULT_POLICY);
        const will = filled.hosts.filter((h) => firstRefusal(h, r, DEFAULT_POLICY) === undefined);
        const [best] = will.sort((a, b) => rank(a) - rank(b) || (better(a, b, salt) ? -1 : 1));
        expect(place(filled, r)).toEqual(best ? { hostId: best.id } : { refusals: expect.anything() as unknown });
      }),
    );
  });

  it('never turn yes into no when a host gets more', () => {
    const more = fc.record({ threads: fc.nat({ max: 8 }), memory: bytes(8), disk: bytes(50) });
    fc.assert(
      fc.property(hosts, requests, more, (hs, rs, add) => {
        const r = rs[0] as PlacementRequest;
        if (!('hostId' in place(world(...hs), r))) return;
        const grown = hs.map((h) => ({
          ...h,
          diskFreeBytes: h.diskFreeBytes + add.disk,
          facts: facts({
            ...h.facts,
            cpuThreads: (h.facts?.cpuThreads ?? 0) + add.threads,
            memoryBytes: (h.facts?.memoryBytes ?? 0) + add.memory,
            diskBytes: (h.facts?.diskBytes ?? 0) + add.disk,
          }),
        }));
        expect(place(world(...grown), r)).toHaveProperty('hostId');
      }),
    );
  });

  it('give every host a reason when none will do', () => {
    fc.assert(
      fc.property(hosts, requests, (hs, rs) => {
        const answer = place(world(...hs), rs[0] as PlacementRequest);
        if ('hostId' in answer) return;
        expect(answer.refusals.map((r) => r.host)).toEqual(hs.map((h) => h.name).sort());
        for (const r of answer.refusals) expect(r.detail).not.toBe('');
      }),
    );
  });
});

it('refuses a host that has no copy of the image and cannot fetch one, and says so', () => {
  const old = { facts: facts({ capabilities: [] }) };
  const hosts = [worldHost('has', old), worldHost('old', old)];
  expect(why(hosts, { image: { hosts: new Set([hosts[0]!.id]), fileBytes: 1 } })).toEqual([
    'old capability has no copy of the image, and its agent lacks image.fetch to get one: upgrade it',
  ]);
  expect(why(hosts)).toEqual([]);
});
