/** Where disks in pools may go: what is up, what has room with the factor of the pool, and what is below its threshold. */
import { expect, it } from 'vitest';
import { ClaimSums, type Claim } from '@berth/shared/model/claim.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import { firstRefusal } from './filters.ts';
import { DEFAULT_POLICY, type PlacementRequest, type Policy, type WorldHost, type WorldPool } from './world.ts';

const GIB = 2 ** 30;
const id = 'host-1' as HostId;
const pool = (over: Partial<WorldPool> & { heldBytes?: number; promisedBytes?: number } = {}): WorldPool => ({
  ...{ name: 'fast', state: 'active', capacityBytes: 100 * GIB, availableBytes: 50 * GIB },
  ...{ stopPercent: 95, overcommit: 1, held: () => over.heldBytes ?? 0, promised: () => over.promisedBytes ?? 0 },
  ...over,
});
const host = (pools: Record<string, WorldPool>, over: Partial<WorldHost> = {}): WorldHost => ({
  ...{ id, name: 'h1', state: 'up', stateReason: '', maintenance: false, labels: {}, bridges: [], salt: 1 },
  facts: {
    domainType: 'kvm',
    cpuThreads: 8,
    memoryBytes: 64 * GIB,
    diskBytes: 100 * GIB,
    checks: [],
  } as never as HostFacts,
  ...{ foreign: ClaimSums.of([]), claims: ClaimSums.of([]), allocatedBytes: 0, diskFreeBytes: 50 * GIB },
  pools: new Map(Object.entries(pools)),
  ...over,
});
const wants = (bytes: number, over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  ...{ vmId: undefined, own: undefined, vcpus: 1, memoryBytes: GIB, diskBytes: 0, image: undefined },
  ...{ bridges: [], capabilities: [], hostLabels: [], hostId: undefined },
  pools: [{ poolId: 'p', name: 'fast', bytes, shared: false }],
  ...over,
});
function why(h: WorldHost, r: PlacementRequest, policy: Policy = DEFAULT_POLICY): string {
  const refused = firstRefusal(h, r, policy);
  if (refused === undefined) return '';
  return `${refused.name} ${typeof refused.why === 'string' ? refused.why : refused.why(h, r, policy)}`;
}

it('is where the pool is, and up', () => {
  expect(why(host({ p: pool() }), wants(GIB))).toBe('');
  expect(why(host({}), wants(GIB))).toBe('pool has no pool fast');
  const silent = host({ p: pool({ state: 'silent: its server does not answer' }) });
  expect(why(silent, wants(GIB))).toBe('pool its pool fast is silent: its server does not answer');
});

it('counts what thin disks there may still grow to, with the factor of the pool, and says the numbers', () => {
  const full = host({ p: pool({ heldBytes: 10 * GIB, promisedBytes: 55 * GIB }) });
  expect(why(full, wants(5 * GIB))).toBe('');
  expect(why(full, wants(6 * GIB))).toBe('pool pool fast: 5 GiB free of 6 GiB wanted');
  const twice = host({ p: pool({ heldBytes: 10 * GIB, promisedBytes: 55 * GIB, overcommit: 2 }) });
  expect(why(twice, wants(65 * GIB))).toBe('');
  expect(why(twice, wants(66 * GIB))).toBe('pool pool fast: 65 GiB free of 66 GiB wanted');
});

it('takes nothing more above its threshold, but lets be what lies there', () => {
  const nearly = host({ p: pool({ availableBytes: 4 * GIB, heldBytes: 90 * GIB, promisedBytes: 90 * GIB }) });
  expect(why(nearly, wants(GIB))).toBe('pool pool fast is 96 % full, and takes nothing more from 95 % on');
  const own = { vmId: 'vm-1' as VmId, hostId: id, vcpus: 1, memoryBytes: GIB, diskBytes: 0, powered: false };
  const claim: Claim = { ...own, poolBytes: { p: GIB } };
  expect(why(nearly, wants(GIB, { own: claim }))).toBe('');
});

it('holds for pool local as well, once it has a threshold', () => {
  const h = host({}, { diskFreeBytes: 4 * GIB, allocatedBytes: 90 * GIB });
  const local = wants(0, { pools: [], diskBytes: GIB });
  expect(why(h, local)).toBe('');
  expect(why(h, local, { ...DEFAULT_POLICY, diskStopShare: 0.95 })).toBe(
    'disk pool local is 96 % full, and takes nothing more from 95 % on',
  );
});
