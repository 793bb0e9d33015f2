/** Networks as people use them: made on hosts, VMs in them, placed where they are, and what is refused. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import type { NetworkShape } from '@berth/shared/model/network.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { NetworkKeeper } from '../reconcilers/networks.ts';
import type { CreateNetwork, NetworkJob } from './networks.ts';

let c: AppCluster;
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
});
const shape = (over: Partial<NetworkShape> = {}): NetworkShape => ({
  ...{ kind: 'isolated', bridge: '', addresses: [], dhcpRange: '', stp: false, delaySeconds: 0 },
  ...over,
});
const wanted = (over: Partial<CreateNetwork> = {}, of: Partial<NetworkShape> = {}): CreateNetwork => ({
  ...{ name: 'lan', shape: shape(of), hosts: [], selector: '', labels: {} },
  ...over,
});
const ends = async (answer: Promise<NetworkJob>): Promise<string> => c.ended((await c.timed(answer)).jobId);
const create = (over: Partial<CreateNetwork> = {}, of: Partial<NetworkShape> = {}) =>
  ends(c.life.networks.create(wanted(over, of), 'test'));
const fake = (name: string) => c.sim.hosts.host(c.hostId(name));
const has = (name: string): boolean => fake(name).networksHere.size > 0;
const get = (name: string) => c.timed(c.life.networks.get(name));
const clone = (name: string, network: string, host = '') =>
  c.clone(name, { host, definition: { nics: [{ network }] } });
const vm = (name: string) => c.life.state.tables.vms.byName(name);
const told = async (type: string) =>
  (await c.life.state.events({ limit: 100 })).filter((e) => e.type === type).map((e) => e.message);

describe('a network', () => {
  it('is made on all hosts, or on those that were named, and deleted again', async () => {
    expect(await create()).toBe('succeeded');
    expect(await get('lan')).toMatchObject({
      network: { state: 'ready', shape: { kind: 'isolated', bridge: 'lan' } },
      onHosts: ['h1', 'h2', 'h3'].map((host) => ({ host, state: 'active', reason: '' })),
    });
    expect(await create({ name: 'one', hosts: ['h2'] })).toBe('succeeded');
    expect([fake('h1').networksHere.size, fake('h2').networksHere.size]).toEqual([1, 2]);
    expect(await ends(c.life.networks.delete('lan', 'test'))).toBe('succeeded');
    expect([has('h1'), has('h2'), has('h3')]).toEqual([false, true, false]);
    await expect(get('lan')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    expect(await told('network.created')).toHaveLength(2);
    expect(await told('network.deleted')).toEqual(['network lan deleted']);
  });

  it('is made on all hosts at the same time', async () => {
    let [asked, go] = [0, () => undefined as void];
    const all = new Promise<void>((resolve) => (go = resolve));
    for (const host of c.sim.hosts.all()) {
      const { ensure } = host.networks;
      host.networks.ensure = async (...args) => {
        if (++asked === 3) go();
        await all;
        return ensure(...args);
      };
    }
    const job = (await c.timed(c.life.networks.create(wanted(), 'test'))).jobId;
    await vi.waitFor(() => expect(asked).toBeGreaterThanOrEqual(3), { timeout: 10_000 });
    expect(await c.ended(job)).toBe('succeeded');
  });

  it('of a bridge that hosts have needs no job, and tells where that is not', async () => {
    expect(await create({ name: 'front' }, { kind: 'bridge', bridge: 'br0' })).toBe('no job');
    expect(await create({ name: 'none' }, { kind: 'bridge', bridge: 'br7' })).toBe('no job');
    expect(await get('front')).toMatchObject({ network: { state: 'ready' }, onHosts: [{ state: 'active' }, {}, {}] });
    expect((await get('none')).onHosts[0]).toEqual({ host: 'h1', state: 'absent', reason: 'has no bridge br7' });
    expect(await ends(c.life.networks.delete('front', 'test'))).toBe('no job');
  });

  it('cannot be deleted while cards of VMs are in it', async () => {
    await create();
    expect(await c.done(clone('web', 'lan'))).toBe('succeeded');
    expect(vm('web')?.spec.nics).toMatchObject([{ bridge: 'lan', networkId: (await get('lan')).network.id }]);
    await expect(c.timed(c.life.networks.delete('lan', 'test'))).rejects.toMatchObject({
      reason: 'IN_USE',
      message: expect.stringContaining('network lan is in use: vm web has a card in it'),
    });
    expect((await get('lan')).vms.map((v) => v.name)).toEqual(['web']);
    await c.done(c.life.vms.delete('web', { force: false }, 'test'));
    expect(await ends(c.life.networks.delete('lan', 'test'))).toBe('succeeded');
  });

  it('that a VM has got into since its deletion was asked for stays', async () => {
    await create();
    await c.done(c.clone('web', { host: 'h1' }));
    const { id } = (await get('lan')).network;
    const web = vm('web')!;
    const deleted = c.life.networks.delete('lan', 'test');
    const nics = web.spec.nics.map((n) => ({ ...n, bridge: 'lan', networkId: id }));
    const plugged = c.life.state.update((tx) => tx.vms.put({ ...web, spec: { ...web.spec, nics } }));
    expect(await ends(deleted)).toBe('failed');
    await c.timed(plugged);
    expect((await get('lan')).network.state).toBe('ready');
    expect([has('h1'), has('h2'), has('h3')]).toEqual([true, true, true]);
  });

  it('cannot be deleted while the memory of a VM in a snapshot goes on in it', async () => {
    await create();
    await c.done(c.clone('web', { host: 'h1' }));
    const { id } = (await get('lan')).network;
    const web = vm('web')!;
    const { vcpus, memoryBytes, disks, nics } = web.spec;
    const cards = nics.map((n) => ({ ...n, bridge: 'lan', networkId: id }));
    const about = { description: '', createdAtMs: 1, phase: 'ready', consistency: '', disks: ['vda'] } as const;
    const kept = (memory: boolean) => ({
      ...{ name: 'then', ...about, memory, power: memory ? ('running' as const) : ('stopped' as const) },
      spec: { vcpus, memoryBytes, disks, nics: cards },
    });
    const put = (memory: boolean) =>
      c.timed(c.life.state.update((tx) => tx.vms.put({ ...web, snapshots: [kept(memory)] })));
    await put(true);
    await expect(c.timed(c.life.networks.delete('lan', 'test'))).rejects.toThrow(
      'network lan is in use: vm web can go back to cards in it, by a snapshot with memory',
    );
    await put(false);
    expect(await ends(c.life.networks.delete('lan', 'test'))).toBe('succeeded');
  });

  it('is where its VMs are placed, and why others will not do is told per host', async () => {
    await create({ hosts: ['h2'] });
    await c.done(clone('web', 'lan'));
    expect(vm('web')?.hostId).toBe(c.hostId('h2'));
    await create({ name: 'far' }, { kind: 'bridge', bridge: 'br7' });
    await expect(c.timed(clone('db', 'far'))).rejects.toThrow(
      'no host has room for vm db: h1 lacks network far: has no bridge br7; h2 lacks network far',
    );
    await expect(c.timed(clone('db', 'lan', 'h1'))).rejects.toThrow(
      'h1: lacks network lan: it is not one of its hosts',
    );
    fake('h2').networksHere.clear();
    c.sim.hosts.connect(c.hostId('h2'));
    await expect(c.timed(clone('db', 'lan'))).rejects.toThrow('h2 lacks network lan: it has not been made there yet');
  });

  it('is one of the two that a card says: a network, or a bridge', async () => {
    await create();
    const asked = (nics: object[]) => c.timed(c.clone('web', { definition: { nics } }));
    await expect(asked([{ network: 'lan', bridge: 'br0' }])).rejects.toThrow('has bridge lan, not br0');
    await expect(asked([{ network: 'lam' }])).rejects.toThrow('Did you mean lan?');
    expect(await c.done(c.clone('web', { definition: { nics: [{ network: 'lan', bridge: 'lan' }] } }))).toBe(
      'succeeded',
    );
  });

  it.each<[string, Partial<CreateNetwork>, Partial<NetworkShape>, RegExp]>([
    ['with a name that is none', { name: '../x' }, {}, /cannot be the name of a network/],
    ['on a host that is not there', { hosts: ['h9'] }, {}, /host h9 does not exist/],
    ['with hosts said twice', { hosts: ['h1'], selector: 'a=b' }, {}, /choose one way/],
    ['without a bridge', {}, { kind: 'bridge' }, /which bridge of its hosts\?/],
    ['whose name is no bridge', { name: 'a-name-that-is-longer' }, {}, /name one with --bridge/],
    ['with addresses that are none', {}, { addresses: ['10.0.0.0/24'] }, /the network itself/],
    ['with NAT and no address', {}, { kind: 'nat' }, /needs one address of IPv4/],
    ['with a label that is none', { labels: { '': 'x' } }, {}, /is not a label/],
  ])('is refused %s, and nothing of it stays', async (_, over, of, words) => {
    await expect(c.timed(c.life.networks.create(wanted(over, of), 'test'))).rejects.toThrow(words);
    expect(c.life.state.tables.networks.byName(over.name ?? 'lan')).toBeUndefined();
  });

  it('is refused under a name or a bridge that another has', async () => {
    await create();
    await expect(create()).rejects.toThrow('network lan exists already');
    await expect(create({ name: 'b' }, { bridge: 'lan' })).rejects.toThrow('bridge lan is that of network lan');
    await expect(create({ name: 'b' }, { kind: 'bridge', bridge: 'lan' })).rejects.toThrow('is that of network lan');
    await create({ name: 'front' }, { kind: 'bridge', bridge: 'br0' });
    expect(await create({ name: 'back' }, { kind: 'bridge', bridge: 'br0' })).toBe('no job');
  });

  it('is on no host when one of them refuses it', async () => {
    const { ensure } = fake('h3').networks;
    fake('h3').networks.ensure = async (id) => ({
      ...{ id, state: 'failed', doneBytes: 0, totalBytes: 0, needsSource: false, image: undefined },
      error: { reason: 'BAD_STATE', message: 'it overlaps', meta: {} },
    });
    expect(await create()).toBe('failed');
    expect([has('h1'), has('h2'), has('h3')]).toEqual([false, false, false]);
    await expect(get('lan')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    fake('h3').networks.ensure = ensure;
    expect(await create()).toBe('succeeded');
  });

  it('changes labels, hosts and addresses, and nothing that VMs rely on', async () => {
    await create();
    const set = (w: object) => ends(c.life.networks.update('lan', w, 'test'));
    expect(await set({ labels: { set: { zone: 'a' }, remove: [] } })).toBe('no job');
    expect(await set({ addresses: ['10.1.0.1/24'] })).toBe('succeeded');
    expect([...fake('h2').networksHere.values()]).toEqual([{ bridge: 'lan', generation: 2 }]);
    expect(await set({ addresses: ['10.1.0.1/24'] })).toBe('no job');
    await c.done(clone('web', 'lan', 'h1'));
    await expect(set({ hosts: { hosts: ['h2'], selector: '' } })).rejects.toThrow('hosts that would lose it: vm web');
    expect(await set({ hosts: { hosts: ['h1'], selector: '' } })).toBe('no job');
    await create({ name: 'front' }, { kind: 'bridge', bridge: 'br0' });
    await expect(c.timed(c.life.networks.update('front', { addresses: [] }, 'test'))).rejects.toThrow(
      'only an isolated',
    );
    expect(await told('network.changed')).toEqual([
      'network lan changed: labels',
      'network lan changed: addresses',
      'network lan changed: hosts',
    ]);
  });
});

describe('a card of a VM', () => {
  const nics = async (nicsNow: object[]) => {
    const { spec, name } = vm('web')!;
    const definition = {
      vcpus: spec.vcpus,
      memoryBytes: spec.memoryBytes,
      nics: nicsNow,
      disks: spec.disks.map((d) => ({ target: d.target, sizeBytes: d.sizeBytes, image: 'base' })),
    };
    const asked = { definition, labels: {}, generation: 0, dryRun: false, forceEject: false };
    const done = await c.timed(c.life.updates.update(name, asked, 'test', () => undefined));
    return {
      changes: done.changes.map((x) => `${x.field} ${x.before || '-'} → ${x.after || '-'}`),
      ended: await c.ended(done.jobId),
    };
  };

  it('goes from a bridge into a network, and back', async () => {
    await create();
    await c.done(c.clone('web', { host: 'h1' }));
    const { mac } = vm('web')!.spec.nics[0]!;
    expect((await nics([{ mac, network: 'lan' }])).ended).toBe('succeeded');
    expect(vm('web')?.spec.nics).toMatchObject([{ mac, bridge: 'lan', networkId: (await get('lan')).network.id }]);
    expect(fake('h1').domains.get(vm('web')!.uuid)?.wanted.nics).toMatchObject([{ mac, bridge: 'lan' }]);
    const back = await nics([{ mac, bridge: 'br0' }]);
    expect(back.changes.join('; ')).toMatch(/bridge lan → br0.*network lan → -/);
    expect(vm('web')?.spec.nics[0]).not.toHaveProperty('networkId');
    expect(await ends(c.life.networks.delete('lan', 'test'))).toBe('succeeded');
  });

  it('that gets another name for the bridge it is on waits for nothing, also while the VM runs', async () => {
    await create({ name: 'front' }, { kind: 'bridge', bridge: 'br0' });
    await c.done(c.clone('web', { host: 'h1' }));
    await c.done(c.life.vms.start('web', 'test'));
    const { mac } = vm('web')!.spec.nics[0]!;
    await nics([{ mac, network: 'front' }]);
    expect((await c.timed(c.life.vms.get('web'))).pending).toEqual([]);
  });
});

describe('a host', () => {
  const keeper = () => {
    const { state, jobs } = c.life;
    return new NetworkKeeper({ state, jobs, hosts: c.sim.hosts, clock: c.sim.clock, log: createLog('test', 'silent') });
  };
  const settled = async () => {
    for (let n = 0; n < 500 && c.life.state.tables.jobs.open().length > 0; n++) await c.sim.clock.step();
  };

  it('that joins later, or lost a network, gets it, and one with an unknown one loses that', async () => {
    await create();
    fake('h1').networksHere.clear();
    fake('h2').networksHere.set('network-000000000000000000000', { bridge: 'old', generation: 1 });
    await c.sim.addHosts(['h4']);
    c.sim.hosts.connect(c.hostId('h4'));
    await c.timed(keeper().look());
    await settled();
    expect([has('h1'), has('h4')]).toEqual([true, true]);
    expect(fake('h2').networksHere.size).toBe(1);
  });

  it('that is not one of its hosts any more loses it', async () => {
    await create();
    await c.timed(c.life.networks.update('lan', { hosts: { hosts: ['h1'], selector: '' } }, 'test'));
    // a host may take longer than one answer
    for (let looks = 0; looks < 9 && (has('h2') || has('h3')); looks++) {
      await c.timed(keeper().look());
      await settled();
    }
    expect([has('h1'), has('h2'), has('h3')]).toEqual([true, false, false]);
    // nothing piles up in its ledger
    expect([...fake('h2')['operations'].keys()].filter((id) => id.endsWith('.forget'))).toEqual([]);
  });

  it('that refuses it says why, and is asked again ever more seldom', async () => {
    await create();
    fake('h2').networksHere.clear();
    let asked = 0;
    fake('h2').networks.ensure = async (id) => ({
      ...{ id, state: 'failed', doneBytes: 0, totalBytes: ++asked * 0, needsSource: false, image: undefined },
      error: { reason: 'BAD_STATE', message: 'network lan: it overlaps', meta: {} },
    });
    const keep = keeper();
    for (let minute = 0; minute < 10; minute++) {
      await c.timed(keep.look());
      await settled();
      await c.sim.clock.advance(60_000);
    }
    expect((await get('lan')).onHosts[1]).toEqual({ host: 'h2', state: 'absent', reason: 'network lan: it overlaps' });
    expect(asked).toBeGreaterThan(1);
    expect(asked).toBeLessThan(5);
  });

  it('that does not answer keeps no other from losing what is not for it', async () => {
    const strange = (n: number): string => `network-${String(n).padStart(21, '0')}`;
    for (let n = 0; n < 20; n++) fake('h1').networksHere.set(strange(n), { bridge: `old${n}`, generation: 1 });
    fake('h2').networksHere.set(strange(20), { bridge: 'old', generation: 1 });
    fake('h1').networks.remove = async () => {
      await c.sim.clock.sleep(30_000);
      throw new ClusterError('DEADLINE_EXCEEDED', 'it does not answer');
    };
    for (const host of ['h1', 'h2']) c.sim.hosts.connect(c.hostId(host));
    const looked = keeper().look();
    await c.sim.clock.advance(20_000);
    expect(has('h2')).toBe(false);
    await c.timed(looked);
  });

  it('that is away gets it when it is back', async () => {
    c.sim.hosts.cut(c.hostId('h3'));
    expect(await create()).toBe('succeeded');
    expect((await get('lan')).onHosts.map((h) => h.state)).toEqual(['active', 'active', 'unknown']);
    fake('h3').up = true;
    c.sim.hosts.connect(c.hostId('h3'));
    await c.timed(keeper().look());
    await settled();
    expect(has('h3')).toBe(true);
  });
});
