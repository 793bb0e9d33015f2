import { beforeEach, describe, expect, it } from 'vitest';
import { newId, type HostId, type PoolId, type VolumeId } from '@berth/shared/model/ids.ts';
import type { PoolUnit } from '@berth/shared/model/pool.ts';
import type { VolumeRecord } from '../hosts/decode.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import { aPool } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { adoptVolume } from './volume-adoption.ts';

let state: State;
let hostId: HostId;
let id: VolumeId;
let record: VolumeRecord;
let units: PoolUnit[] = [];
const adopt = (name = 'found') => {
  const pools = units.length === 0 ? [] : [{ poolId: record.poolId, units }];
  const hosts = { has: () => ({ volumes: new Map([[id, record]]) }), status: () => ({ pools }) } as unknown as Hosts;
  return adoptVolume({ state, hosts }, id, name, 'root');
};

beforeEach(async () => {
  state = await memoryState();
  hostId = newHostId();
  id = newId('volume', 1_700_000_000_000);
  record = {
    ...{ vmId: '', sizeBytes: 2 ** 30, allocatedBytes: 0, imageDigest: '', seed: false, format: 'qcow2' as const },
  };
  await state.update((tx) => tx.hosts.put(enrolledHost({ id: hostId, name: 'h1', address: 'h1:7444' })));
});

describe('a volume that is taken into the inventory', () => {
  it('lies in the pool in which its host has it, which is in use from then on', async () => {
    const pool = aPool({ name: 'fast' });
    await state.update((tx) => tx.pools.put(pool));
    record = { ...record, poolId: pool.id };
    expect(await adopt()).toMatchObject({ name: 'found', hostId, poolId: pool.id });
    expect(state.tables.volumes.byPool(pool.id).map((v) => v.name)).toEqual(['found']);
  });

  it('stays the LUN that it is, which no other volume may be', async () => {
    const source = { ...aPool().source, type: 'iscsi' as const };
    const pool = aPool({ name: 'san', source });
    await state.update((tx) => tx.pools.put(pool));
    record = { ...record, format: 'raw', poolId: pool.id, unitKey: '360001' };
    units = [];
    await expect(adopt()).rejects.toThrow('does not see now (360001)');
    units = [{ name: 'unit:0:0:1', key: '360001', sizeBytes: 2 ** 30 }];
    expect(await adopt()).toMatchObject({ poolId: pool.id, unit: { name: 'unit:0:0:1', key: '360001' } });
    id = newId('volume', 1_700_000_000_001);
    await expect(adopt('again')).rejects.toMatchObject({ reason: 'IN_USE' });
    units = [];
  });

  it('is refused when its pool is not known, or its host is to remove it: it would be gone a moment later', async () => {
    record = { ...record, poolId: newId('pool', 0) satisfies PoolId };
    await expect(adopt()).rejects.toThrow(/lies in a pool that the inventory does not know/);
    const { poolId: _, ...local } = record;
    record = local;
    const debt = {
      id: `${hostId}/volume/${id}`,
      hostId,
      kind: 'volume',
      target: id,
      vmId: undefined,
      why: '',
    } as const;
    await state.update((tx) => tx.debts.put(debt));
    await expect(adopt()).rejects.toThrow(/goes as soon as h1 can remove it/);
    expect(state.tables.volumes.size).toBe(0);
  });
});
