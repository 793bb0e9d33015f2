/** Pools as people use them: made on hosts, disks in them, thresholds, and what is refused. */
import { beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { PoolKeeper } from '../reconcilers/pools.ts';
import type { CreatePool, PoolJob } from './pools.ts';

let c: AppCluster;
const RUNNING = {
  ...({ state: 'running', error: undefined, image: undefined } as const),
  ...{ doneBytes: 0, totalBytes: 0, needsSource: false },
};
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
});
const source: PoolSource = {
  ...{ type: 'dir', targetPath: '/kvm/vdisks', hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
};
const wanted = (over: Partial<CreatePool> = {}): CreatePool => ({
  ...{ name: 'fast', source, shared: false, allHosts: true, hosts: [], selector: '', secret: '' },
  ...over,
});
const ends = async (answer: Promise<PoolJob>): Promise<string> => c.ended((await c.timed(answer)).jobId);
const create = (over: Partial<CreatePool> = {}) => ends(c.life.pools.create(wanted(over), 'test'));
const fake = (name: string) => c.sim.hosts.host(c.hostId(name));
const get = (name: string) => c.timed(c.life.pools.get(name));

describe('a pool', () => {
  it('is made on all hosts, or on those that were named, and removed again', async () => {
    expect(await create()).toBe('succeeded');
    expect(await get('fast')).toMatchObject({
      pool: { state: 'ready', warnPercent: 85, stopPercent: 95, overcommit: 1, started: true, autostart: true },
      onHosts: ['h1', 'h2', 'h3'].map((host) => ({ host, state: 'active' })),
    });
    expect(await create({ name: 'one', allHosts: false, hosts: ['h2'] })).toBe('succeeded');
    expect(fake('h1').poolsHere.size).toBe(1);
    expect(fake('h2').poolsHere.size).toBe(2);
    expect(await ends(c.life.pools.delete('fast', 'test'))).toBe('succeeded');
    expect(fake('h1').poolsHere.size).toBe(0);
    await expect(get('fast')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('that a host cannot make is refused with the names of both', async () => {
    fake('h2').pools.ensure = async () => {
      throw new ClusterError('BAD_STATE', 'libvirt could not define the pool: boom');
    };
    const { jobId } = await c.timed(c.life.pools.create(wanted(), 'test'));
    expect(await c.ended(jobId!)).toBe('failed');
    expect(c.life.state.tables.jobs.get(jobId!)?.error?.message).toBe(
      'pool fast on h2: libvirt could not define the pool: boom',
    );
  });

  it('tells what was changed of it, once', async () => {
    await create();
    for (let i = 0; i < 2; i++) await c.timed(c.life.pools.update('fast', { warnPercent: 70, autostart: false }));
    const told = (await c.life.state.events({ limit: 100 })).filter((e) => e.type === 'pool.changed');
    expect(told.map((e) => e.message)).toEqual([
      'pool fast changed: it warns at 70 %, it is not started when a host boots',
    ]);
  });

  it.each<[string, Partial<CreatePool>, RegExp]>([
    ['whose name is local', { name: 'local' }, /is on every host already/],
    ['with a name that is none', { name: '../x' }, /cannot be the name of a pool/],
    ['without hosts', { allHosts: false }, /on which hosts\?/],
    ['with hosts said twice', { hosts: ['h1'] }, /choose one way/],
    ['on a host that is not there', { allHosts: false, hosts: ['h9'] }, /host h9 does not exist/],
    ['where the system lies', { source: { ...source, targetPath: '/etc/x' } }, /belongs to the system/],
    ['with thresholds upside down', { warnPercent: 96 }, /the first no larger than the second/],
    ['with a factor of nothing', { overcommit: 0.01 }, /overcommit must be from/],
    ['with a secret and no user', { secret: 'eA==' }, /a secret needs a user/],
  ])('is refused %s, and nothing of it stays', async (_, over, words) => {
    await expect(c.timed(c.life.pools.create(wanted(over), 'test'))).rejects.toThrow(words);
    expect((await c.timed(c.life.pools.list({ pageSize: 0, pageToken: '' }))).items).toHaveLength(1);
  });

  it('is not made on a host that is away, when that was named; other hosts get it without', async () => {
    c.sim.hosts.cut(c.hostId('h3'));
    await expect(c.timed(c.life.pools.create(wanted({ allHosts: false, hosts: ['h3'] }), 'test'))).rejects.toThrow(
      'cannot be made on host h3 now: it is unreachable',
    );
    expect(await create()).toBe('succeeded');
    expect((await get('fast')).onHosts.map((h) => h.state)).toEqual(['active', 'active', 'unknown']);
  });

  it('stops and starts, and not while disks in it run', async () => {
    await create();
    await c.done(c.clone('web', { host: 'h1', pool: 'fast' }));
    await c.done(c.life.vms.start('web', 'test'));
    await expect(c.timed(c.life.pools.stop('fast', 'test'))).rejects.toThrow(
      /vm web runs with disks in it\. Stop it first/,
    );
    await expect(c.timed(c.life.pools.delete('fast', 'test'))).rejects.toMatchObject({ reason: 'IN_USE' });
    expect(await create({ name: 'other' })).toBe('succeeded');
    expect(await ends(c.life.pools.stop('other', 'test'))).toBe('succeeded');
    expect(await get('other')).toMatchObject({ pool: { started: false }, onHosts: [{ state: 'inactive' }, {}, {}] });
    await expect(c.timed(c.clone('db', { pool: 'other' }))).rejects.toThrow('pool other is stopped');
    expect(await ends(c.life.pools.start('other', 'test'))).toBe('succeeded');
  });
});

describe('full clones', () => {
  it('lie in pools of files too, and rest on no image', async () => {
    await create();
    const full = (host: string) => c.clone('web', { pool: 'fast', kind: 'full', host });
    for (const h of c.sim.hosts.all())
      h.capabilities = h.name === 'h2' ? ['clone.full', 'clone.full-pools'] : ['clone.full'];
    await expect(c.timed(full('h1'))).rejects.toThrow('vm web cannot run on h1: lacks clone.full-pools');
    expect(await c.done(full('h2'))).toBe('succeeded');
    const disk = (await c.timed(c.life.vms.get('web'))).vm.spec.disks[0]!;
    const pool = (await get('fast')).pool.id;
    expect(disk).toMatchObject({ poolId: pool, imageId: undefined, copyOf: expect.any(String) as string });
    expect(fake('h2').volumes.get(disk.volumeId)).toMatchObject({ imageDigest: undefined });
  });
});

describe('a host that lacks a pool', () => {
  const keeper = () => {
    const { state, jobs } = c.life;
    return new PoolKeeper({ state, jobs, hosts: c.sim.hosts, clock: c.sim.clock, log: console as never });
  };
  const has = (name: string) => fake(name).poolsHere.size > 0;
  const open = () => c.life.state.tables.jobs.open();

  it('gets it together with others, while VMs are made in it', async () => {
    await create();
    for (const h of ['h2', 'h3']) fake(h).poolsHere.clear();
    const cloned = c.clone('web', { host: 'h1', pool: 'fast' });
    await c.timed(keeper().look());
    expect(await c.done(cloned)).toBe('succeeded');
    for (let n = 0; n < 500 && open().length > 0; n++) await c.sim.clock.step();
    expect([has('h2'), has('h3')]).toEqual([true, true]);
  });

  it('holds up neither VMs nor, for long, what people do with the pool, when its storage hangs', async () => {
    await create();
    fake('h2').poolsHere.clear();
    fake('h2').pools.ensure = async (id: string) => ({ ...RUNNING, id });
    const keep = keeper();
    for (let i = 0; i < 3; i++) await c.timed(keep.look());
    const jobs = open();
    expect(jobs.map((j) => j.kind)).toEqual(['pool.mend']);
    expect(await c.done(c.clone('web', { host: 'h1', pool: 'fast' }))).toBe('succeeded');
    await c.done(c.life.vms.delete('web', { force: false }, 'test'));
    expect(await c.ended(jobs[0]!.id)).toBe('failed');
    expect(await ends(c.life.pools.stop('fast', 'test'))).toBe('succeeded');
  });

  it('and does not answer keeps no other from forgetting what nobody knows any more', async () => {
    const strange = (n: number): string => `pool-${String(n).padStart(21, '0')}`;
    for (let n = 0; n < 20; n++) fake('h1').poolsHere.set(strange(n), 'up');
    fake('h2').poolsHere.set(strange(20), 'up');
    let asked = 0;
    fake('h1').pools.remove = async () => {
      asked++;
      await c.sim.clock.sleep(30_000);
      throw new ClusterError('DEADLINE_EXCEEDED', 'it does not answer');
    };
    for (const host of ['h1', 'h2']) c.sim.hosts.connect(c.hostId(host));
    const looked = keeper().look();
    await c.sim.clock.advance(20_000);
    expect([has('h2'), asked]).toEqual([false, 1]);
    expect([...fake('h2')['operations'].keys()].filter((id) => id.endsWith('.forget'))).toEqual([]);
    await c.timed(looked);
    expect(asked).toBe(4);
  });

  it('waits its turn where people change the pool, and where the first has to mark it', async () => {
    await create({ shared: true, allHosts: false, hosts: ['h1'] });
    const { pool } = await get('fast');
    await c.timed(
      c.life.state.update((tx) =>
        tx.pools.put({ ...pool, marked: false, hosts: { all: true, ids: [], selector: '' } }),
      ),
    );
    fake('h1').poolsHere.clear();
    const keep = keeper();
    const stopping = c.life.pools.stop('fast', 'test');
    await c.timed(keep.look());
    expect(await ends(stopping)).toBe('succeeded');
    await c.timed(c.life.state.update((tx) => tx.pools.put({ ...tx.pools.get(pool.id)!, started: true })));
    const looked = keep.look();
    expect(open().map((j) => j.kind)).toEqual(['pool.mend']);
    await c.timed(looked);
  });
});

describe('a disk in a pool', () => {
  it('is claimed there and not in the folder of its host, and told', async () => {
    await create();
    expect(await c.done(c.clone('web', { host: 'h1', pool: 'fast' }))).toBe('succeeded');
    const view = await c.timed(c.life.vms.get('web'));
    expect(view.poolNames).toEqual(['fast']);
    const { sizeBytes } = view.vm.spec.disks[0]!;
    const { claims } = c.life.state.tables;
    const sums = claims.sums(c.hostId('h1'));
    expect([
      sums.poolBytes.get(view.vm.spec.disks[0]!.poolId!),
      claims.poolBytes(view.vm.spec.disks[0]!.poolId!),
    ]).toEqual([sizeBytes, sizeBytes]);
    expect(sums.diskBytes).toBeLessThan(2 ** 21);
    expect(await get('fast')).toMatchObject({ diskCount: 1, promisedBytes: sizeBytes });
    await c.done(c.life.vms.delete('web', { force: false }, 'test'));
    expect(claims.poolBytes((await get('fast')).pool.id)).toBe(0);
  });

  it('goes only where its pool is, and is refused with the numbers where there is no room', async () => {
    await create({ allHosts: false, hosts: ['h2'] });
    await c.done(c.clone('web', { pool: 'fast' }));
    expect((await c.timed(c.life.vms.get('web'))).vm.hostId).toBe(c.hostId('h2'));
    await expect(c.timed(c.clone('big', { pool: 'fast', diskSizeBytes: 60 * 2 ** 30 }))).rejects.toThrow(
      /h1 .*has no pool fast[^]*h2 .*pool fast: 49 GiB free of 60 GiB wanted/,
    );
    await c.timed(c.life.pools.update('fast', { overcommit: 2 }));
    expect(await c.done(c.clone('big', { pool: 'fast', diskSizeBytes: 60 * 2 ** 30 }))).toBe('succeeded');
    await c.timed(c.life.pools.update('fast', { warnPercent: 40, stopPercent: 50 }));
    await expect(c.timed(c.clone('more', { pool: 'fast' }))).rejects.toThrow('is 50 % full, and takes nothing more');
  });

  it('in a shared pool lies over a copy there, which is written once for all hosts', async () => {
    await create({ shared: true });
    expect(await c.done(c.clone('a', { host: 'h1', pool: 'fast' }))).toBe('succeeded');
    // storage that h2 has as well
    const { poolsHere } = fake('h1');
    for (const [key, what] of poolsHere) fake('h2').poolsHere.set(key, what);
    expect(await c.done(c.clone('b', { host: 'h2', pool: 'fast' }))).toBe('succeeded');
    const of = (kind: string) => [...c.life.state.tables.jobs.values()].filter((j) => j.kind === kind);
    expect([of('pool.image').length, of('image.fetch').length]).toEqual([1, 0]);
    const copies = () => [...fake('h1').poolsHere.keys()].filter((k) => k.includes('/sha256:'));
    expect(copies()).toHaveLength(1);
    for (const vm of ['a', 'b']) await c.done(c.life.vms.delete(vm, { force: false }, 'test'));
    await c.ended((await c.timed(c.life.images.delete('base', 'test'))).jobId);
    expect(copies()).toHaveLength(0);
  });
});

it('pool local is always there, and can be given thresholds and a factor', async () => {
  const { items } = await c.timed(c.life.pools.list({ pageSize: 0, pageToken: '' }));
  expect(items).toMatchObject([{ pool: { name: 'local' }, onHosts: [{ state: 'active' }, {}, {}] }]);
  await c.timed(c.life.pools.update('local', { overcommit: 1.5 }));
  expect(await get('local')).toMatchObject({ pool: { overcommit: 1.5, stopPercent: 95 } });
  await expect(c.timed(c.life.pools.stop('local', 'test'))).rejects.toThrow('pool local is always up');
  await expect(c.timed(c.life.pools.delete('local', 'test'))).rejects.toThrow('pool local cannot be removed');
});
