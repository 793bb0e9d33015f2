/** Units of other storage as volumes of a host: kept, given out once, wiped when that is asked for, and never made or removed. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { LongWork } from '../drivers/disks.ts';
import { PoolHosts, source, spec, type PoolHost } from '../testing/pool-host.ts';
import { poolUuid } from './pool-spec.ts';

const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const SAN = {
  ...source('/dev/disk/by-path'),
  type: 'iscsi' as const,
  hosts: ['san'],
  path: 'iqn.2020-01.org.example:t1',
};
const MIB = 2 ** 20;
const UNIT = { name: 'unit:0:0:1', capacityBytes: 64 * MIB, allocationBytes: 64 * MIB, key: '360001' };
const how = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;
const wanted = {
  ...{ volumeId: 'volume-1', vmId: '', imageDigest: undefined, sizeBytes: 64 * MIB, poolId: 'pool-1' },
  ...{ format: 'raw' as const, unit: { name: UNIT.name, key: UNIT.key }, ...how },
};

const hosts = new PoolHosts();
let h: PoolHost;
beforeEach(async () => {
  h = await hosts.host('h1');
  h.drivers.storage.folders.at('/dev/disk/by-path').set(UNIT.name, UNIT);
  await h.ensure(spec({ source: SAN, shared: true }));
});
afterEach(() => hosts.close());

const there = (): Promise<boolean> => h.drivers.storage.hasVolume(poolUuid('pool-1'), UNIT.name);

it('is told of, becomes a volume, and is still there when that is gone', async () => {
  expect((await h.parts.watch.observe())[0]?.units).toEqual([{ name: UNIT.name, key: UNIT.key, sizeBytes: 64 * MIB }]);
  const { disks } = h.parts;
  for (const _ of [1, 2]) await disks.work.make(wanted, work);
  await h.open();
  expect(await h.parts.disks.findVolume('volume-1')).toMatchObject({
    ...{ unitKey: UNIT.key, format: 'raw', sizeBytes: 64 * MIB, allocatedBytes: 0 },
    source: { type: 'block', dev: '/dev/disk/by-path/unit:0:0:1' },
  });
  expect(h.parts.disks.volumePath('volume-1', false)).toBe('/dev/disk/by-path/unit:0:0:1');
  await expect(h.run('remove')).rejects.toMatchObject({ reason: 'IN_USE' });
  await h.parts.disks.work.wipe('volume-1', work);
  expect(h.drivers.storage.written.get(UNIT.name)).toBe(0);
  await h.parts.disks.removeVolume('volume-1');
  expect([await there(), h.parts.store.volumes()]).toEqual([true, []]);
});

it('is that of one volume, of no mount, and the one that was meant', async () => {
  const { work: make } = h.parts.disks;
  h.drivers.storage.users.set('/dev/disk/by-path/unit:0:0:1', '/dev/sdb1 is mounted at /srv');
  await expect(make.make(wanted, work)).rejects.toThrow('in use on h1: /dev/sdb1 is mounted at /srv');
  h.drivers.storage.users.clear();
  await expect(make.make({ ...wanted, unit: { ...wanted.unit, key: 'x' } }, work)).rejects.toThrow('is another unit');
  await expect(make.make({ ...wanted, sizeBytes: MIB }, work)).rejects.toThrow('has 64 MiB by now');
  await expect(make.make({ ...wanted, unit: { name: 'none', key: '' } }, work)).rejects.toThrow('has no unit none');
  expect(h.parts.store.volumes()).toEqual([]);
  await make.make(wanted, work);
  await expect(make.make({ ...wanted, volumeId: 'volume-2' }, work)).rejects.toThrow('is volume volume-1 already');
  await expect(make.resize('volume-1', 128 * MIB, { shrink: false }, work)).rejects.toThrow(
    'its storage makes it larger',
  );
  expect(await there()).toBe(true);
});

it('keeps what it holds when its wipe was cancelled before that had its turn', async () => {
  await h.parts.disks.work.make(wanted, work);
  const cancelled = { ...work, signal: AbortSignal.abort(new Error('cancelled')) };
  await expect(h.parts.disks.work.wipe('volume-1', cancelled)).rejects.toThrow('cancelled');
  expect(h.drivers.storage.written.has(UNIT.name)).toBe(false);
});

it('is let be when the storage has put another in its place, until it is back', async () => {
  const { disks } = h.parts;
  await disks.work.make(wanted, work);
  await disks.work.assign('volume-1', { from: '', to: 'vm-1' });
  const units = h.drivers.storage.folders.at('/dev/disk/by-path');
  units.set(UNIT.name, { ...UNIT, key: '360009' });
  const other = 'is another unit by now (360009)';
  await expect(disks.work.wipe('volume-1', work)).rejects.toThrow(other);
  expect(h.drivers.storage.written.has(UNIT.name)).toBe(false);
  await expect(disks.insistUnits('vm-1')).rejects.toThrow(other);
  units.delete(UNIT.name);
  await expect(disks.work.wipe('volume-1', work)).rejects.toThrow('is not there');
  units.set(UNIT.name, UNIT);
  await disks.insistUnits('vm-1');
});
