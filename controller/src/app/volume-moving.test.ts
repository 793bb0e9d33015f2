/** Volumes and disks of VMs that go from pool to pool, as people ask for it; and volumes that stand alone in pools. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
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

const abled = (what = 'volume.pool-files'): void => {
  for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, what];
};

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

  it('becomes of another format there, gives back what zeros took, and becomes smaller', async () => {
    await done(create('data', 'fast', { image: 'base' }));
    abled();
    const { id } = await get('data');
    const resize = (sizeBytes: number) => c.life.volumes.resize('data', { sizeBytes, shrink: true }, 'test');
    expect(await done(c.life.volumes.sparsify('data', 'test'))).toBe('succeeded');
    expect(host().volumes.get(id)?.imageDigest).toBeDefined();
    expect(await done(c.life.volumes.convert('data', 'raw', 'test'))).toBe('succeeded');
    expect([await get('data'), host().volumes.get(id)]).toMatchObject([
      { pool: 'fast', format: 'raw', backing: [] },
      { format: 'raw', imageDigest: undefined },
    ]);
    expect(await done(resize(GIB))).toBe('succeeded');
    expect([(await get('data')).sizeBytes, promised('fast')]).toEqual([GIB, GIB]);
  });

  it('takes what is in its image along to another pool, where that is asked, also while its guest runs', async () => {
    await done(create('data', 'fast', { image: 'base' }));
    const full = (name: string, pool: string) => c.life.volumes.move(name, { pool, host: '', full: true }, 'test');
    expect(await said(full('data', 'slow'))).toMatch(/^UNSUPPORTED: .*it lacks volume.pool-files/);
    abled();
    expect(await done(full('data', 'slow'))).toBe('succeeded');
    const { id, backing } = await get('data');
    expect([backing, host().volumes.get(id)?.imageDigest]).toEqual([[], undefined]);
    expect(c.life.state.tables.volumes.get(id)?.imageId).toBeUndefined();
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await c.ended((await c.timed(c.life.vms.start('web', 'test'))).jobId);
    expect(await said(full('web-vda', 'slow'))).toMatch(/^UNSUPPORTED: .*it lacks volume.full-live/);
    abled('volume.full-live');
    expect(await done(full('web-vda', 'slow'))).toBe('succeeded');
    expect(c.life.state.tables.vms.byName('web')!.spec.disks[0]).toMatchObject({
      ...{ imageId: undefined, poolId: poolId('slow') },
    });
  });

  it('gets what is in its image where it lies, in any pool of files, while no guest has it', async () => {
    const full = (name: string, pool = '') => c.life.volumes.move(name, { pool, host: '', full: true }, 'test');
    await done(create('data', 'fast', { image: 'base' }));
    expect(await said(full('data'))).toMatch(/^UNSUPPORTED: .*it lacks volume.pool-files/);
    abled();
    const rewrite = vi.spyOn(host().volumeData, 'rewrite');
    expect(await done(full('data'))).toBe('succeeded');
    const { id, backing, pool } = await get('data');
    expect(rewrite.mock.calls[0]?.[1]).toEqual({
      ...{ volumeId: id, format: 'qcow2', ifOther: false },
      imageDigest: undefined,
    });
    expect([backing, pool, host().volumes.get(id)?.imageDigest]).toEqual([[], 'fast', undefined]);
    expect(await done(full('data', 'fast'))).toBe('no job');
    expect(rewrite).toHaveBeenCalledTimes(1);
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await c.ended((await c.timed(c.life.vms.start('web', 'test'))).jobId);
    expect(await said(full('web-vda', 'local'))).toMatchInlineSnapshot(
      `"BAD_STATE: disk vda is one of vm web, which is running. Stop it first (berth vm stop web), or take it to another pool while it runs (berth volume move web-vda --pool POOL --full)"`,
    );
    const how = { force: true, thenForce: false, timeoutMs: 0 };
    await c.ended((await c.timed(c.life.vms.stop('web', how, 'test'))).jobId);
    expect(await done(full('web-vda', 'local'))).toBe('succeeded');
    expect(c.life.state.tables.vms.byName('web')!.spec.disks[0]).toMatchObject({ imageId: undefined });
    expect((await get('web-vda')).backing).toEqual([]);
  });

  it('is wiped there, where its host can do that', async () => {
    await done(create('data', 'fast'));
    abled();
    const wipe = vi.spyOn(host().volumeData, 'wipe');
    expect(await done(c.life.volumes.wipe('data', 'test'))).toBe('succeeded');
    expect(wipe.mock.calls[0]?.[1]).toBe((await get('data')).id);
  });

  it('becomes a disk of a vm in its pool, and stands alone there again', async () => {
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await done(create('data', 'fast'));
    await done(c.life.volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test'));
    expect(c.life.state.tables.vms.byName('web')!.spec.disks[1]).toMatchObject({ poolId: poolId('fast') });
    expect([(await get('web-vdb')).pool, promised('fast')]).toEqual(['fast', 2 * GIB]);
    await done(c.life.volumes.detach('web/vdb', { name: 'data', force: false }, 'test'));
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
      await said(c.life.volumes.sparsify('data', 'test')),
      await said(c.life.volumes.resize('data', { sizeBytes: GIB, shrink: true }, 'test')),
      await said(c.life.volumes.convert('data', 'vmdk', 'test')),
      await said(c.life.volumes.wipe('data', 'test')),
    ]).toMatchInlineSnapshot(`
      [
        "NOT_FOUND: pool none does not exist. See: berth pool list",
        "UNSUPPORTED: volume x shall lie in a pool, where libvirt makes it: preallocation, clusters and reference counts are for pool local",
        "NO_CAPACITY: volume x cannot lie on h1: pool fast: 48 GiB free of 32 TiB wanted",
        "INVALID_ARGUMENT: where to? Say --pool POOL, or --host HOST",
        "NOT_FOUND: pool none does not exist. See: berth pool list",
        "UNSUPPORTED: the agent 0.0.0 of host h1 cannot convert, sparsify, wipe or shrink volumes in pools of files, or move them with what is in their image (it lacks volume.pool-files): upgrade it, then try again",
        "UNSUPPORTED: the agent 0.0.0 of host h1 cannot convert, sparsify, wipe or shrink volumes in pools of files, or move them with what is in their image (it lacks volume.pool-files): upgrade it, then try again",
        "UNSUPPORTED: the agent 0.0.0 of host h1 cannot convert, sparsify, wipe or shrink volumes in pools of files, or move them with what is in their image (it lacks volume.pool-files): upgrade it, then try again",
        "UNSUPPORTED: volume data lies in pool fast: as vmdk volumes are kept in pool local only. Take it as a file (berth volume download data data.vmdk), or move it there first (berth volume move data --pool local)",
        "UNSUPPORTED: the agent 0.0.0 of host h1 cannot convert, sparsify, wipe or shrink volumes in pools of files, or move them with what is in their image (it lacks volume.pool-files): upgrade it, then try again",
      ]
    `);
    c.sim.hosts.host(c.hostId('h1')).diskFull = true;
    expect(await done(move('data', 'slow'))).toBe('failed');
    expect([(await get('data')).pool, promised('fast'), promised('slow')]).toEqual(['fast', 2 * GIB, 0]);
  });
});

describe('room where volumes are moved to', () => {
  it('is not given twice, though both were asked for at once, and is free again when a move is undone', async () => {
    for (const name of ['a', 'b']) await done(create(name, '', { sizeBytes: 30 * GIB }));
    const moves = await Promise.all(['a', 'b'].map((name) => c.timed(move(name, 'slow'))));
    const ends = [await c.ended(moves[0]!.jobId), await c.ended(moves[1]!.jobId)];
    expect([ends, promised('slow')]).toEqual([['succeeded', 'failed'], 30 * GIB]);
    const failed = await c.life.jobs.view(moves[1]!.jobId!);
    expect(failed.error?.message).toMatch(/^volume b cannot lie on h1: pool slow/);
    c.sim.hosts.host(c.hostId('h2')).diskFull = true;
    const local = () => c.life.state.tables.claims.sums(c.hostId('h2')).diskBytes;
    const { jobId } = await c.timed(move('b', '', 'h2'));
    expect([local(), await c.ended(jobId), local()]).toEqual([30 * GIB, 'failed', 0]);
  });

  it('is kept for each disk of a vm until that has moved, whichever is the first', async () => {
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    for (const name of ['b', 'c', 'd']) {
      await done(create(name, ''));
      await done(c.life.volumes.attach(name, { vm: 'web', bus: '', target: '' }, 'test'));
    }
    const all = c.life.state.tables.vms.byName('web')!.spec.disks.reduce((sum, d) => sum + d.sizeBytes, 0);
    const disks = ['web-vda', 'web-vdb', 'web-vdc', 'web-vdd'];
    const moves = await Promise.all(disks.map((name) => c.timed(move(name, 'fast'))));
    const open = () => c.life.state.tables.jobs.open().some((j) => moves.some((m) => m.jobId === j.id));
    const kept = new Set<number>();
    for (let n = 0; n < 5_000 && open(); n++) {
      await c.sim.clock.step();
      kept.add(promised('fast'));
    }
    expect([...kept]).toEqual([all]);
    for (const { jobId } of moves) expect(await c.ended(jobId)).toBe('succeeded');
    expect(promised('fast')).toBe(all);
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

  it('takes what is in its image along, where that is asked, and needs that nowhere any more', async () => {
    await done(create('data', 'fast', { image: 'base' }));
    const full = (to: { pool: string; host: string }) => c.life.volumes.move('data', { ...to, full: true }, 'test');
    expect(await said(full({ pool: '', host: 'h2' }))).toMatch(
      /^UNSUPPORTED: .*send volumes with what is in their image/,
    );
    for (const h of c.sim.hosts.all()) h.capabilities = [...h.capabilities, 'volume.full'];
    const h2 = c.sim.hosts.host(c.hostId('h2'));
    const waits = { state: 'running', needsSource: true, doneBytes: 0, totalBytes: 0, image: undefined } as const;
    vi.spyOn(h2.volumeData, 'receive').mockImplementationOnce(async (id) => ({ id, ...waits }) as never);
    const makeFile = vi.spyOn(host().volumeData, 'export');
    const openExport = vi.spyOn(host().volumeData, 'openExport');
    const { jobId } = await c.timed(full({ pool: '', host: 'h2' }));
    expect(await c.ended(jobId)).toBe('succeeded');
    // what is sent is the file that its host made of it, and nothing of that stays
    const asked = { volumeId: (await get('data')).id, peerHostId: h2.id, exportId: `${jobId}.flatten.file` };
    expect(openExport.mock.calls).toEqual([[asked]]);
    const wanted = { volumeId: asked.volumeId, format: 'qcow2', exportId: asked.exportId };
    expect([makeFile.mock.calls[0]?.[1], host().uploads.has(asked.exportId)]).toEqual([wanted, false]);
    expect(await get('data')).toMatchObject({ hostName: 'h2', pool: 'local', backing: [], state: 'ready' });
    const { digest } = c.life.state.tables.images.byName('base')!;
    const { id } = await get('data');
    expect([h2.images.has(digest!), h2.volumes.get(id)?.imageDigest]).toEqual([false, undefined]);
    expect(c.life.state.tables.volumes.get(id)?.imageId).toBeUndefined();
    // one that rests on nothing goes as it is
    expect(await done(full({ pool: '', host: 'h1' }))).toBe('succeeded');
  });

  it('stays where it is in a pool that both hosts share: there is one file of it, and no copy', async () => {
    const wanted = { name: 'nfs', source: { ...source, targetPath: '/kvm/nfs' }, shared: true, secret: '' };
    const where = { allHosts: true, hosts: [], selector: '' };
    await c.ended((await c.timed(c.life.pools.create({ ...wanted, ...where }, 'test'))).jobId);
    await done(create('data', 'nfs'));
    expect(await said(move('data', 'nfs', 'h2'))).toMatchInlineSnapshot(
      `"BAD_STATE: volume data lies in pool nfs, which its hosts share: there it stays h1's. To take it elsewhere, name another pool (--pool local)"`,
    );
    expect(await get('data')).toMatchObject({ hostName: 'h1', pool: 'nfs' });
    expect(await done(move('data', 'local', 'h2'))).toBe('succeeded');
    expect(await get('data')).toMatchObject({ hostName: 'h2', pool: 'local' });
  });

  it('does not go to a host that still has an old copy, which would pass for it', async () => {
    await done(create('data', ''));
    const { id } = await get('data');
    const h1 = c.sim.hosts.host(c.hostId('h1'));
    h1.keepsVolumes = true;
    expect(await done(move('data', '', 'h2'))).toBe('succeeded');
    expect(h1.volumes.has(id)).toBe(true);
    const older = /^BAD_STATE: an older copy of volume data is still on host h1/;
    expect(await said(move('data', '', 'h1'))).toMatch(older);
    // in a pool that both share, what removes it there would remove the volume
    const wanted = { name: 'nfs', source: { ...source, targetPath: '/kvm/nfs' }, shared: true, secret: '' };
    const where = { allHosts: true, hosts: [], selector: '' };
    await c.ended((await c.timed(c.life.pools.create({ ...wanted, ...where }, 'test'))).jobId);
    expect(await said(move('data', 'nfs'))).toMatch(older);
    expect(await done(move('data', 'fast'))).toBe('succeeded');
    h1.keepsVolumes = false;
    await c.sim.clock.advance(3_600_000);
    expect(h1.volumes.has(id)).toBe(false);
    expect(await done(move('data', '', 'h1'))).toBe('succeeded');
  });

  it('is free to be used there at once, though its former host has died, which owes the old copy', async () => {
    await done(create('data', ''));
    const { id } = await get('data');
    const h1 = c.sim.hosts.host(c.hostId('h1'));
    h1.keepsVolumes = true;
    const { jobId } = await c.timed(move('data', '', 'h2'));
    for (let n = 0; n < 5_000 && (await get('data')).hostName === 'h1'; n++) await c.sim.clock.step();
    c.sim.hosts.cut(c.hostId('h1'));
    expect(await c.ended(jobId)).toBe('succeeded');
    expect(await done(c.life.volumes.resize('data', { sizeBytes: 3 * GIB, shrink: false }, 'test'))).toBe('succeeded');
    expect(c.life.state.tables.debts.byHost(c.hostId('h1')).map((d) => d.target)).toEqual([id]);
  });

  it('stays where it was when the host that it has just come to is removed by force, and is not removed there', async () => {
    await done(create('data', ''));
    const { id } = await get('data');
    const [h1, h2, to] = [c.hostId('h1'), c.sim.hosts.host(c.hostId('h2')), c.hostId('h2')];
    const receive = h2.volumeData.receive.bind(h2.volumeData);
    const find = h2.findOperation.bind(h2);
    const gone = async <T extends { state: string } | undefined>(op: T): Promise<T> => {
      if (op?.state === 'succeeded') await c.life.state.update((tx) => tx.hosts.delete(to));
      return op;
    };
    h2.volumeData.receive = async (...args) => gone(await receive(...args));
    h2.findOperation = async (...args) => gone(await find(...args));
    expect(await done(move('data', '', 'h2'))).toBe('succeeded');
    expect([h2.volumes.has(id), c.life.state.tables.hosts.get(to)]).toEqual([true, undefined]);
    expect(await get('data')).toMatchObject({ hostName: 'h1', state: 'ready' });
    expect(c.sim.hosts.host(h1).volumes.has(id)).toBe(true);
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
