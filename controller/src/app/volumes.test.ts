import { beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { VmSpec } from '@berth/shared/model/vm.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { definitionOf } from './vm-changes.ts';
import type { CreateVolume, VolumeAnswer } from './volumes.ts';

const GIB = 2 ** 30;
let c: AppCluster;
const usual = {
  format: '',
  preallocation: '',
  clusterBytes: 0,
  lazyRefcounts: false,
  host: '',
  image: '',
  labels: {},
  pool: '',
};
const create = (name: string, over: Partial<CreateVolume> = {}) =>
  c.life.volumes.create({ name, sizeBytes: 2 * GIB, ...usual, ...over }, 'test');
const done = async (answer: Promise<VolumeAnswer>) => c.ended((await c.timed(answer)).jobId);
const get = (name: string) => c.timed(c.life.volumes.get(name));
const said = async (answer: Promise<unknown>): Promise<string> => {
  const e = (await c.timed(answer).catch((x: unknown) => x)) as { reason?: string; message?: string };
  // which host has what is for chance to say
  return `${e.reason}: ${e.message?.replace(/(job|volume)-\w+/g, '$1-x').replace(/\d+ GiB free/g, 'N GiB free')}`;
};
const list = async (pageSize = 0, alone = false): Promise<string[]> => {
  const names: string[] = [];
  for (let pageToken = '', first = true; first || pageToken !== ''; first = false) {
    const query = { pageSize, pageToken, host: '', alone };
    const page = await c.timed(c.life.volumes.list(query, () => true));
    names.push(...page.items.map((v) => v.name));
    pageToken = page.nextPageToken;
  }
  return names;
};

beforeEach(async () => {
  c = await AppCluster.make();
});

describe('a volume', () => {
  it('is made on a host with room, shown, and deleted without a trace', async () => {
    expect(await done(create('data', { labels: { team: 'a' } }))).toBe('succeeded');
    const view = await get('data');
    expect(view).toMatchObject({ state: 'ready', sizeBytes: 2 * GIB, format: 'qcow2', vm: '', labels: { team: 'a' } });
    const host = c.sim.hosts.host(view.hostId!);
    expect(host.volumes.get(view.id)).toMatchObject({ vmId: '', sizeBytes: 2 * GIB });
    expect(await get(view.id)).toEqual(view);
    expect(await done(c.life.volumes.delete('data', 'test'))).toBe('succeeded');
    expect(host.volumes.size).toBe(0);
    expect(await said(get('data'))).toMatch(/NOT_FOUND: volume data does not exist/);
  });

  it('is forgotten when its host does not answer, which removes it when it is back', async () => {
    for (const name of ['data', 'more']) await done(create(name, { host: 'h2' }));
    const host = c.sim.hosts.host(c.hostId('h2'));
    c.sim.hosts.cut(c.hostId('h2'));
    expect(await done(c.life.volumes.delete('data', 'test'))).toBe('succeeded');
    expect([await list(), host.volumes.size]).toEqual([['more'], 2]);
    host.up = true;
    await c.timed(c.sim.reconnect(c.hostId('h2')));
    expect([host.connected, host.volumes.size, c.life.state.tables.debts.size]).toEqual([true, 1, 0]);
  });

  it('that is being deleted keeps no job open when its host is removed from the cluster', async () => {
    await done(create('data', { host: 'h2' }));
    const hostId = c.hostId('h2');
    const host = c.sim.hosts.host(hostId);
    host.removeVolume = async () => {
      c.sim.hosts.cut(hostId);
      await c.life.state.update((tx) => {
        for (const v of tx.volumes.byHost(hostId)) tx.volumes.delete(v.id);
        tx.hosts.delete(hostId);
      });
      throw new ClusterError('HOST_UNREACHABLE', 'h2 did not answer');
    };
    expect(await done(c.life.volumes.delete('data', 'test'))).toBe('succeeded');
    expect([await list(), c.life.state.tables.debts.size]).toEqual([[], 0]);
  });

  it('of a vm is one too, under the name of both; in pages, those that stand alone come first', async () => {
    await c.import('base');
    await c.ended((await c.timed(c.clone('web'))).jobId);
    for (const name of ['a', 'b', 'x']) await done(create(name));
    expect(await list()).toEqual(['a', 'b', 'x', 'web-vda']);
    expect(await list(2)).toEqual(['a', 'b', 'x', 'web-vda']);
    expect(await list(0, true)).toEqual(['a', 'b', 'x']);
    const disk = await get('web-vda');
    expect(disk).toMatchObject({ vm: 'web', target: 'vda', backing: ['base'] });
    expect(await get('web/vda')).toEqual(disk);
    expect(await get(disk.id)).toEqual(disk);
    expect([await said(create('web-vda')), await said(c.life.volumes.delete('web-vda', 'test'))])
      .toMatchInlineSnapshot(`
        [
          "ALREADY_EXISTS: volume web-vda exists already: it is a disk of vm web",
          "IN_USE: volume web-vda is disk vda of vm web. It goes with its vm (berth vm delete web), or alone once it is detached (berth volume detach web/vda)",
        ]
      `);
  });

  it('keeps the image that it is based on', async () => {
    await c.import('base');
    expect(await done(create('copy', { image: 'base', sizeBytes: 0 }))).toBe('succeeded');
    expect(await get('copy')).toMatchObject({ sizeBytes: GIB, backing: ['base'] });
    expect(await said(c.life.images.delete('base', 'test'))).toMatch(/IN_USE: image base is in use: volume copy/);
    await done(c.life.volumes.delete('copy', 'test'));
    expect(await c.ended((await c.timed(c.life.images.delete('base', 'test'))).jobId)).toBe('succeeded');
  });

  it('that cannot be is refused in words, and changes nothing', async () => {
    await c.import('base');
    await done(create('data', { host: 'h2' }));
    expect([
      await said(create('data')),
      await said(create('../x')),
      await said(create('x', { sizeBytes: 0 })),
      await said(create('x', { sizeBytes: 2 ** 50 })),
      await said(create('x', { sizeBytes: 2 ** 45 })),
      await said(create('x', { format: 'vmdk' })),
      await said(create('x', { image: 'base', format: 'raw' })),
      await said(create('x', { format: 'raw', lazyRefcounts: true })),
      await said(create('x', { clusterBytes: 1000 })),
      await said(create('x', { preallocation: 'some' })),
      await said(create('x', { image: 'base', preallocation: 'full' })),
      await said(create('x', { host: 'h9' })),
    ]).toMatchInlineSnapshot(`
      [
        "ALREADY_EXISTS: volume data exists already. Choose another name",
        "INVALID_ARGUMENT: "../x" cannot be the name of a volume: use up to 63 small letters, digits and hyphens, with a letter or digit at both ends (like web-01)",
        "INVALID_ARGUMENT: how large shall volume x be? Say --size 20GiB",
        "INVALID_ARGUMENT: the disk size must be between 1 MiB and 64 TiB, not 1 PiB",
        "NO_CAPACITY: no host has room for volume x: h1 disk N GiB free of 32 TiB wanted; h2 disk N GiB free of 32 TiB wanted; h3 disk N GiB free of 32 TiB wanted",
        "INVALID_ARGUMENT: a volume is qcow2 or raw, not "vmdk"",
        "INVALID_ARGUMENT: volume x cannot be raw: what is based on an image is qcow2",
        "INVALID_ARGUMENT: volume x is raw: it has no metadata, clusters or reference counts",
        "INVALID_ARGUMENT: a cluster has 512 bytes to 2 MiB, a power of two, not 1000 bytes",
        "INVALID_ARGUMENT: preallocation is off, metadata, falloc or full, not "some"",
        "INVALID_ARGUMENT: volume x is based on an image: it is allocated as it is written to",
        "NOT_FOUND: host h9 does not exist. Did you mean h1 or h2 or h3?",
      ]
    `);
    expect(await list()).toEqual(['data']);
  });

  it('grows where there is room, becomes smaller only when that is said, and is left alone when it is so', async () => {
    await done(create('data', { host: 'h3' }));
    const resize = (sizeBytes: number, shrink = false) => c.life.volumes.resize('data', { sizeBytes, shrink }, 'test');
    expect(await done(resize(4 * GIB))).toBe('succeeded');
    expect(await done(resize(4 * GIB))).toBe('no job');
    expect([await said(resize(GIB)), await said(resize(2 ** 45)), await said(resize(0))]).toMatchInlineSnapshot(`
      [
        "INVALID_ARGUMENT: volume data has 4 GiB: to make it smaller, and only if nothing is cut off, say so with --shrink",
        "NO_CAPACITY: volume data cannot lie on h3: disk N GiB free of 32 TiB wanted",
        "INVALID_ARGUMENT: the disk size must be between 1 MiB and 64 TiB, not -1 B",
      ]
    `);
    expect(await done(resize(GIB, true))).toBe('succeeded');
    expect(await get('data')).toMatchObject({ sizeBytes: GIB });
    const { hostId } = await get('data');
    expect(c.life.state.tables.claims.sums(hostId!).diskBytes).toBe(GIB);
  });

  it('of a vm grows with what is promised of its host', async () => {
    await c.import('base');
    await c.ended((await c.timed(c.clone('web'))).jobId);
    const vm = () => c.life.state.tables.vms.byName('web')!;
    const before = c.life.state.tables.claims.get(vm().id)!.diskBytes;
    expect(await done(c.life.volumes.resize('web-vda', { sizeBytes: 3 * GIB, shrink: false }, 'test'))).toBe(
      'succeeded',
    );
    expect(vm().spec.disks[0]).toMatchObject({ sizeBytes: 3 * GIB });
    expect(c.life.state.tables.claims.get(vm().id)!.diskBytes).toBe(before + 2 * GIB);
    expect(await said(c.life.volumes.resize('web-vda', { sizeBytes: GIB / 2, shrink: true }, 'test'))).toBe(
      'BAD_STATE: volume web-vda cannot become smaller than its image base, which has 1 GiB',
    );
  });

  it('becomes a disk of a vm that runs, at once, and of no other; and stands alone again', async () => {
    await c.import('base');
    for (const name of ['web', 'db']) await c.ended((await c.timed(c.clone(name, { host: 'h1' }))).jobId);
    await c.done(c.life.vms.start('web', 'test'));
    await done(create('data', { host: 'h1', labels: { team: 'a' } }));
    const { id } = await get('data');
    const attach = (vm: string, over: object = {}) =>
      c.life.volumes.attach('data', { vm, bus: '', target: '', ...over }, 'test');
    const refused = [
      await said(attach('web', { target: 'vda' })),
      await said(attach('web', { target: 'sda', bus: 'virtio' })),
      await said(attach('web', { bus: 'floppy' })),
      await said(attach('web', { target: '../x' })),
    ];
    expect(await done(attach('web'))).toBe('succeeded');
    const vm = () => c.life.state.tables.vms.byName('web')!;
    expect([vm().before, vm().live]).toEqual([undefined, undefined]);
    expect(vm().spec.disks.map((d) => d.target)).toEqual(['vda', 'vdb']);
    const host = c.sim.hosts.host(c.hostId('h1'));
    expect(host.live.get(`${vm().uuid} vdb`)).toBe('there');
    expect(host.volumes.get(id)).toMatchObject({ vmId: vm().id });
    expect(await list()).toEqual(['db-vda', 'web-vda', 'web-vdb']);
    refused.push(await said(c.life.volumes.attach('web-vdb', { vm: 'db', bus: '', target: '' }, 'test')));
    expect(refused).toMatchInlineSnapshot(`
      [
        "BAD_STATE: vm web has a disk vda already: it has vda",
        "INVALID_ARGUMENT: a disk on bus virtio is called vda and so on, not sda",
        "INVALID_ARGUMENT: "floppy" is no bus: virtio, scsi, sata, ide, usb",
        "INVALID_ARGUMENT: "../x" is no name of a disk: vda to vdy, sda to sdy, or hda to hdd",
        "IN_USE: volume web-vdb is a disk of vm web: one vm has it at a time. Detach it there first (berth volume detach web/vdb)",
      ]
    `);
    host.deaf = true;
    expect(await done(c.life.volumes.detach('web-vdb', { name: '', force: false }, 'test'))).toBe('failed');
    expect(vm().spec.disks).toHaveLength(2);
    host.deaf = false;
    expect(await done(c.life.volumes.detach(id, { name: '', force: false }, 'test'))).toBe('succeeded');
    expect(await get('web-vdb')).toMatchObject({ id, vm: '', labels: vm().spec.labels, state: 'ready' });
    expect(host.volumes.get(id)).toMatchObject({ vmId: '' });
    expect(host.live.get(`${vm().uuid} vdb`)).toBeUndefined();
    expect(await done(create('more', { host: 'h1' }))).toBe('succeeded');
    await done(c.life.volumes.attach('more', { vm: 'web', bus: '', target: '' }, 'test'));
    expect(await said(get('web-vdb'))).toMatch(/can be either of two volumes: volume-x \(alone\), web\/vdb/);
    expect(await done(c.life.volumes.detach('web/vdb', { name: '', force: false }, 'test'))).toBe('succeeded');
    expect(await list(0, true)).toEqual(['web-vdb', 'web-vdb-2']);
  });

  it('that a guest which runs boots from goes only when that is meant, or when the guest is off', async () => {
    await c.import('base');
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await c.done(c.life.vms.start('web', 'test'));
    await done(create('data', { host: 'h1' }));
    await done(c.life.volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test'));
    const detach = (disk: string, force = false) => c.life.volumes.detach(`web/${disk}`, { name: '', force }, 'test');
    expect(await said(detach('vda'))).toBe(
      'BAD_STATE: disk vda is the one that vm web boots from, and web is running: its guest would lose its system. ' +
        'Stop it first (berth vm stop web), or take the disk all the same with --force',
    );
    expect(await list()).toEqual(['web-vda', 'web-vdb']);
    expect(await done(detach('vdb'))).toBe('succeeded');
    expect(await done(detach('vda', true))).toBe('succeeded');
    expect(await list(0, true)).toEqual(['web-vda', 'web-vdb']);
    await c.ended((await c.timed(c.clone('db', { host: 'h1' }))).jobId);
    const off = c.life.volumes.detach('db/vda', { name: '', force: false }, 'test');
    expect(await done(off)).toBe('succeeded');
  });

  it.each(['run policy', 'labels'])('comes and goes while somebody changes the %s of its vm', async (what) => {
    await c.import('base');
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    await c.done(c.life.vms.start('web', 'test'));
    await done(create('data', { host: 'h1' }));
    const vm = () => c.life.state.tables.vms.byName('web')!;
    const host = c.sim.hosts.host(c.hostId('h1'));
    const policy = (runPolicy: VmSpec['runPolicy']) => {
      const definition = { ...definitionOf(vm().spec, () => 'base'), runPolicy };
      const wanted = { definition, labels: vm().spec.labels, generation: 0, dryRun: false, forceEject: false };
      return c.life.updates.update('web', wanted, 'ann', () => undefined);
    };
    const label = (tier: string) => c.life.vms.label('web', { set: { tier }, remove: [] }, () => undefined);
    /** The change comes when the job has been started, and nothing of it is done. */
    const meanwhile = async (begin: Promise<VolumeAnswer>, value: string): Promise<unknown[]> => {
      expect(vm().before).toBeDefined();
      const changed = what === 'labels' ? label(value) : policy(value as 'always');
      const ends = await done(begin);
      await c.timed<unknown>(changed);
      const { runPolicy, labels, disks } = vm().spec;
      return [ends, what === 'labels' ? labels['tier'] : runPolicy, disks.length, vm().before];
    };
    const attach = () => c.life.volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test');
    const detach = () => c.life.volumes.detach('web/vdb', { name: 'data', force: false }, 'test');
    expect(await meanwhile(attach(), 'always')).toEqual(['succeeded', 'always', 2, undefined]);
    host.deaf = true;
    expect(await meanwhile(detach(), 'manual')).toEqual(['failed', 'manual', 2, undefined]);
    host.deaf = false;
    expect(await meanwhile(detach(), 'restartOnFailure')).toEqual(['succeeded', 'restartOnFailure', 1, undefined]);
    expect(await get('data')).toMatchObject({ state: 'ready', vm: '' });
  });

  it('gets another format, loses its zeros or all that it holds, while no guest has it', async () => {
    await c.import('base');
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    const vm = () => c.life.state.tables.vms.byName('web')!;
    const { volumes } = c.life;
    await c.done(c.life.vms.start('web', 'test'));
    expect([
      await said(volumes.convert('web-vda', 'raw', 'test')),
      await said(volumes.wipe('web-vda', 'test')),
      await said(volumes.convert('web-vda', 'vmdk', 'test')),
      await said(volumes.convert('web-vda', '', 'test')),
    ]).toMatchInlineSnapshot(`
      [
        "BAD_STATE: disk vda is one of vm web, which is running. Stop it first (berth vm stop web)",
        "BAD_STATE: disk vda is one of vm web, which is running. Stop it first (berth vm stop web)",
        "BAD_STATE: disk vda is one of vm web, and no vm runs with vmdk: detach it first (berth volume detach web/vda), or take a file of it (berth volume download)",
        "INVALID_ARGUMENT: a volume is qcow2, raw, vmdk, vdi, vhdx, not """,
      ]
    `);
    await c.done(c.life.vms.stop('web', { force: true, timeoutMs: 0, thenForce: false }, 'test'));
    expect(await done(volumes.convert('web-vda', 'qcow2', 'test'))).toBe('no job');
    expect(await done(volumes.sparsify('web-vda', 'test'))).toBe('succeeded');
    expect(await get('web-vda')).toMatchObject({ format: 'qcow2', backing: ['base'] });
    expect(await done(volumes.convert('web-vda', 'raw', 'test'))).toBe('succeeded');
    expect(await get('web-vda')).toMatchObject({ format: 'raw', backing: [] });
    expect(vm().spec.disks[0]).toMatchObject({ imageId: undefined, options: { format: 'raw' } });
    expect(await done(volumes.wipe('web-vda', 'test'))).toBe('succeeded');
    c.sim.hosts.host(c.hostId('h1')).diskFull = true;
    expect(await done(volumes.convert('web-vda', 'qcow2', 'test'))).toBe('failed');
    expect(await get('web-vda')).toMatchObject({ format: 'raw' });
  });

  it('is kept in formats of other programs, which no vm gets, until it is converted back', async () => {
    const { volumes } = c.life;
    await done(create('data', { host: 'h1' }));
    await c.import('base');
    await c.ended((await c.timed(c.clone('web', { host: 'h1' }))).jobId);
    for (const format of ['vmdk', 'vdi', 'vhdx']) {
      expect(await done(volumes.convert('data', format, 'test'))).toBe('succeeded');
      expect(await get('data')).toMatchObject({ format, sizeBytes: 2 * GIB, state: 'ready' });
    }
    expect(await done(volumes.convert('data', 'vhdx', 'test'))).toBe('no job');
    const advice =
      /^BAD_STATE: volume data is kept as vhdx, which no vm runs with. Convert it first: berth volume convert data --to qcow2$/;
    expect(await said(volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test'))).toMatch(advice);
    expect(await said(volumes.move('data', { host: 'h2', pool: '' }, 'test'))).toMatch(advice);
    expect(await said(volumes.resize('data', { sizeBytes: 3 * GIB, shrink: false }, 'test'))).toMatch(advice);
    expect(await said(volumes.wipe('data', 'test'))).toMatch(advice);
    expect(await done(volumes.convert('data', 'raw', 'test'))).toBe('succeeded');
    expect(await done(volumes.attach('data', { vm: 'web', bus: '', target: '' }, 'test'))).toBe('succeeded');
  });

  it('has one of two operators at the same time', async () => {
    await done(create('data'));
    const both = [
      c.life.volumes.delete('data', 'ann'),
      c.life.volumes.resize('data', { sizeBytes: 9 * GIB, shrink: false }, 'ben'),
    ];
    const ends = await c.timed(Promise.allSettled(both));
    expect(ends.map((e) => e.status)).toEqual(['fulfilled', 'rejected']);
    expect(await said(both[1]!)).toMatch(/RESOURCE_BUSY: data is busy|BAD_STATE/);
  });
});
