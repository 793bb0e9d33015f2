/** Units of pools (LUNs): shown, given to one VM at a time however many hosts and pools have them, and let go of as they are. */
import { beforeEach, expect, it } from 'vitest';
import type { PoolSource, PoolUnit } from '@berth/shared/model/pool.ts';
import { newId } from '@berth/shared/model/ids.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { aHost, aPool } from '../state/samples.ts';
import { unitsOf } from './volume-units.ts';
import type { CreateVolume } from './volumes.ts';

const MIB = 2 ** 20;
const SAN: PoolSource = {
  ...{ type: 'iscsi', targetPath: '', hosts: ['san'], path: 'iqn.2020-01.org.example:t1', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const unit = (n: number): PoolUnit => ({ name: `unit:0:0:${n}`, sizeBytes: 64 * MIB, key: `36000${n}` });
const usual = { format: '', preallocation: '', clusterBytes: 0, lazyRefcounts: false, image: '', labels: {} };

let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  for (const h of c.sim.hosts.all()) {
    h.capabilities = ['clone.full', 'clone.instant', 'image.hashes', 'pool.block', 'volume.block'];
    h.units.push(unit(1), unit(2));
  }
  await pool('san');
});
const pool = async (name: string, shared = true): Promise<void> => {
  const about = { name, source: SAN, shared, allHosts: true, hosts: [], selector: '', secret: '' };
  expect(await c.ended((await c.timed(c.life.pools.create(about, 'test'))).jobId)).toBe('succeeded');
};
const take = (name: string, over: Partial<CreateVolume> = {}) =>
  c.timed(
    c.life.volumes.create({ name, sizeBytes: 0, ...usual, pool: 'san', unit: 'unit:0:0:1', host: '', ...over }, 'test'),
  );
const taken = async (name: string, over: Partial<CreateVolume> = {}) => c.ended((await take(name, over)).jobId!);
const units = async (name = 'san') => (await c.timed(c.life.pools.get(name))).units.map((u) => [u.name, u.volume]);

it('becomes a volume as it is, and is free again when that is deleted', async () => {
  expect(await units()).toEqual([
    ['unit:0:0:1', ''],
    ['unit:0:0:2', ''],
  ]);
  expect(await taken('lun')).toBe('succeeded');
  expect(await c.timed(c.life.volumes.get('lun'))).toMatchObject({ format: 'raw', sizeBytes: 64 * MIB, pool: 'san' });
  const list = (p: string) =>
    c.timed(c.life.volumes.list({ pageSize: 0, pageToken: '', host: '', pool: p, alone: true }, () => true));
  expect([(await list('san')).items.length, (await list('local')).items.length]).toEqual([1, 0]);
  expect(await units()).toEqual([
    ['unit:0:0:1', 'lun'],
    ['unit:0:0:2', ''],
  ]);
  expect(await c.ended((await c.timed(c.life.volumes.delete('lun', 'test'))).jobId!)).toBe('succeeded');
  expect((await units())[0]).toEqual(['unit:0:0:1', '']);
});

it('is never that of two, by other names, through other pools or from other hosts', async () => {
  await taken('lun', { host: 'h1' });
  const inUse = 'unit unit:0:0:1 of pool san is volume lun already';
  await expect(take('other', { host: 'h2' })).rejects.toMatchObject({ reason: 'IN_USE', message: inUse });
  await pool('again');
  await expect(take('other', { pool: 'again', host: 'h2' })).rejects.toThrow('is volume lun already');
  const [a, b] = await Promise.allSettled([
    take('both1', { unit: 'unit:0:0:2' }),
    take('both2', { unit: 'unit:0:0:2', pool: 'again' }),
  ]);
  expect([a.status, b.status].sort()).toEqual(['fulfilled', 'rejected']);
});

it('is not given out while a host that is silent may have a guest with it that was forgotten', async () => {
  await c.done(c.clone('web', { host: 'h1' }));
  await taken('lun', { host: 'h1' });
  const attached = await c.timed(c.life.volumes.attach('lun', { vm: 'web', bus: '', target: '' }, 'test'));
  expect(await c.ended(attached.jobId!)).toBe('succeeded');
  c.sim.hosts.cut(c.hostId('h1'));
  expect(await c.done(c.life.vms.delete('web', { force: true }, 'test'))).toBe('succeeded');
  await expect(take('other', { host: 'h2' })).rejects.toThrow('may be one that h1 still has: it does not answer');
  await c.timed(c.life.state.update((tx) => void [...tx.debts.values()].forEach((d) => tx.debts.delete(d.id))));
  expect(await taken('other', { host: 'h2' })).toBe('succeeded');
});

it('goes to a VM on its host and stays its own there, and back', async () => {
  await c.done(c.clone('web', { host: 'h1' }));
  await taken('lun', { host: 'h1' });
  const attached = await c.timed(c.life.volumes.attach('lun', { vm: 'web', bus: '', target: '' }, 'test'));
  expect(await c.ended(attached.jobId!)).toBe('succeeded');
  expect((await units())[0]).toEqual(['unit:0:0:1', 'web-vdb']);
  await expect(take('other')).rejects.toThrow('is volume web-vdb already');
  await expect(
    c.timed(c.life.volumes.resize('web-vdb', { sizeBytes: 128 * MIB, shrink: false }, 'test')),
  ).rejects.toThrow('its storage makes it larger');
  await expect(c.timed(c.life.volumes.move('web-vdb', { pool: 'local', host: '' }, 'test'))).rejects.toMatchObject({
    reason: 'UNSUPPORTED',
  });
  const detached = await c.timed(c.life.volumes.detach('web-vdb', { name: 'lun', force: false }, 'test'));
  expect(await c.ended(detached.jobId!)).toBe('succeeded');
  expect((await units())[0]).toEqual(['unit:0:0:1', 'lun']);
});

it('is refused in words: no such unit, another size or content, an agent that is too old, one host among many', async () => {
  await expect(take('lun', { unit: 'unit:0:0:9' })).rejects.toThrow('pool san has no unit unit:0:0:9');
  await expect(take('lun', { sizeBytes: MIB })).rejects.toThrow('as large as that is');
  await expect(take('lun', { pool: 'local' })).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  for (const h of c.sim.hosts.all()) h.capabilities = ['pool.block'];
  await expect(take('lun')).rejects.toThrow(/cannot have volumes that stand alone .* \(it lacks volume.block\)/);
  for (const [i, h] of c.sim.hosts.all().entries()) h.units.splice(0, 2, { ...unit(1), key: `local${i}` });
  await expect(take('lun')).rejects.toThrow(/is another one on h\d and on h\d: say which with --host/);
});

it('looks at the volumes of each host as often for many units as for one', () => {
  const asked = (many: number): number => {
    let times = 0;
    const has = () => {
      times++;
      return { volumes: new Map([['volume-1', { unitKey: '360001' }]]) };
    };
    const pool = aPool({ id: newId('pool', 1), source: SAN });
    const status = () => ({ pools: [{ poolId: pool.id, units: Array.from({ length: many }, (_, i) => unit(i + 1)) }] });
    const hosts = new Map(['h1', 'h2'].map((name, i) => [name, aHost({ id: newId('host', i), name })]));
    const none = { byPool: () => [] };
    const tables = { hosts, pools: new Map([[pool.id, pool]]), volumes: none, vms: none };
    const units = unitsOf(pool, { tables, hosts: { status, has } } as never);
    expect([units.length, units[0]?.volume]).toEqual([many, 'volume-1 of h1']);
    return times;
  };
  expect(asked(50)).toBe(asked(1));
});
