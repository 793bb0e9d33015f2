/** Volumes and disks of VMs that go from pool to pool, as people ask for it; and volumes that stand alone in pools. */
import { beforeEach, describe, expect, it } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import type { VolumeAnswer } from './volumes.ts';

const GIB = 2 ** 30;
let c: AppCluster;
const usual = { format: '', preallocation: '', clusterBytes: 0, lazyRefcounts: false, image: '', labels: {} };
const create = (name: string, pool: string, over: object = {}) =>
  c.life.volumes.create({ name, sizeBytes: 2 * GIB, host: 'h1', ...usual, pool, ...over }, 'test');
const move = (name: string, pool: string, host = '') => c.life.volumes.move(name, { pool, host }, 'test');
const done = async (answer: Promise<VolumeAnswer>) => c.ended((await c.timed(answer)).jobId);
const get = (name: string) => c.timed(c.life.volumes.get(name));
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const source = {
  type: 'dir' as const,
  ...{ hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const poolId = (name: string) => c.life.state.tables.pools.byName(name)!.id;
const host = () => c.sim.hosts.host(c.hostId('h1'));
const promised = (name: string) => c.life.state.tables.claims.sums(c.hostId('h1')).poolBytes.get(poolId(name)) ?? 0;

beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  for (const name of ['fast', 'slow']) {
    const wanted = { name, source: { ...source, targetPath: `/kvm/${name}` }, shared: false, secret: '' };
    const where = { allHosts: true, hosts: [], selector: '' };
    await c.ended((await c.timed(c.life.pools.create({ ...wanted, ...where }, 'test'))).jobId);
  }
});

describe('a volume that stands alone', () => {
  it('is made in a pool, moves to another and back to local, and is counted where it lies', async () => {
    expect(await done(create('data', 'fast'))).toBe('succeeded');
    expect(await get('data')).toMatchObject({ pool: 'fast', hostName: 'h1' });
    expect([promised('fast'), promised('slow')]).toEqual([2 * GIB, 0]);
    expect(await done(move('data', 'fast'))).toBe('no job');
    expect(await done(move('data', 'slow'))).toBe('succeeded');
    expect([promised('fast'), promised('slow'), c.life.state.tables.claims.poolBytes(poolId('slow'))]).toEqual([
      ...[0, 2 * GIB, 2 * GIB],
    ]);
    const { id } = await get('data');
    expect(host().volumes.get(id)).toMatchObject({ poolId: poolId('slow') });
    expect(host().volumes.get(id)).not.toHaveProperty('left');
    expect(await said(c.life.pools.delete('slow', 'test'))).toMatch(
      /IN_USE: pool slow is in use: volume data lies in it/,
    );
    expect(await done(move('data', 'local'))).toBe('succeeded');
    expect([(await get('data')).pool, promised('slow')]).toEqual(['local', 0]);
  });

  it('becomes a disk of a vm in its pool, and stands alone there again', async () => {
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await done(create('data', 'fast'));
    await done(c.life.volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test'));
    expect(c.life.state.tables.vms.byName('web')!.spec.disks[1]).toMatchObject({ poolId: poolId('fast') });
    expect([(await get('web-vdb')).pool, promised('fast')]).toEqual(['fast', 2 * GIB]);
    await done(c.life.volumes.detach('web/vdb', 'data', 'test'));
    expect([(await get('data')).pool, promised('fast')]).toEqual(['fast', 2 * GIB]);
  });

  it('is refused in words where it cannot be so, and stays as it was', async () => {
    await done(create('data', 'fast'));
    expect([
      await said(create('x', 'none')),
      await said(create('x', 'fast', { preallocation: 'full' })),
      await said(create('x', 'fast', { sizeBytes: 2 ** 45 })),
      await said(move('data', '')),
      await said(move('data', 'none')),
      await said(c.life.volumes.convert('data', 'raw', 'test')),
      await said(c.life.volumes.resize('data', { sizeBytes: GIB, shrink: true }, 'test')),
    ]).toMatchInlineSnapshot(`
      [
        "NOT_FOUND: pool none does not exist. See: berth pool list",
        "UNSUPPORTED: volume x shall lie in a pool, where libvirt makes it: preallocation, clusters and reference counts are for pool local",
        "NO_CAPACITY: volume x cannot lie on h1: pool pool fast: 48 GiB free of 32 TiB wanted",
        "INVALID_ARGUMENT: where to? Say --pool POOL, or --host HOST",
        "NOT_FOUND: pool none does not exist. See: berth pool list",
        "UNSUPPORTED: volume data lies in a pool: there it stays as it is. Move it to pool local first (berth volume move)",
        "UNSUPPORTED: volume data lies in a pool: there it can only become larger. Move it to pool local first (berth volume move)",
      ]
    `);
    c.sim.hosts.host(c.hostId('h1')).diskFull = true;
    expect(await done(move('data', 'slow'))).toBe('failed');
    expect([(await get('data')).pool, promised('fast'), promised('slow')]).toEqual(['fast', 2 * GIB, 0]);
  });
});

describe('a volume that goes to another host', () => {
  it('lies there alone, over its image, and is counted there', async () => {
    await done(create('data', 'fast', { image: 'base' }));
    const { id } = await get('data');
    expect(await done(move('data', '', 'h2'))).toBe('succeeded');
    expect(await get('data')).toMatchObject({ id, hostName: 'h2', pool: 'local', backing: ['base'], state: 'ready' });
    expect([host().volumes.has(id), c.sim.hosts.host(c.hostId('h2')).volumes.has(id)]).toEqual([false, true]);
    expect([promised('fast'), c.life.state.tables.claims.sums(c.hostId('h2')).diskBytes]).toEqual([0, 2 * GIB]);
  });

  it('stays where it is when there is no room, and goes with its vm when it is one of that', async () => {
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await done(create('data', ''));
    expect([await said(move('web-vda', '', 'h2')), await said(move('data', '', 'h9'))]).toMatchInlineSnapshot(`
      [
        "BAD_STATE: volume web-vda is a disk of vm web, and lies on its host (h1): a vm's disks go with it. To move it alone, detach it first (berth volume detach web/vda)",
        "NOT_FOUND: host h9 does not exist. Did you mean h1 or h2 or h3?",
      ]
    `);
    c.sim.hosts.host(c.hostId('h2')).diskFull = true;
    expect(await done(move('data', 'local', 'h2'))).toBe('failed');
    expect((await get('data')).hostName).toBe('h1');
    expect(c.sim.hosts.host(c.hostId('h2')).volumes.size).toBe(0);
  });
});

describe('a disk of a vm', () => {
  it('moves under it while it runs, with what is promised of its host', async () => {
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await c.done(c.life.vms.start('web', 'test'));
    const vm = () => c.life.state.tables.vms.byName('web')!;
    const before = c.life.state.tables.claims.get(vm().id)!;
    expect(await done(move('web-vda', 'fast'))).toBe('succeeded');
    const after = c.life.state.tables.claims.get(vm().id)!;
    const { sizeBytes, poolId: at } = vm().spec.disks[0]!;
    expect(at).toBe(poolId('fast'));
    expect([before.diskBytes - after.diskBytes, after.poolBytes]).toEqual([sizeBytes, { [poolId('fast')]: sizeBytes }]);
    expect(await done(move('web-vda', 'local'))).toBe('succeeded');
    expect(c.life.state.tables.claims.get(vm().id)).toEqual(before);
    expect(vm().spec.disks[0]).not.toHaveProperty('poolId');
  });
});
