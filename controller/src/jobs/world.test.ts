/** The picture that placements look at is always as things are, although it is kept. */
import { beforeEach, expect, it, vi } from 'vitest';
import { refusals } from '../scheduler/place.ts';
import { DEFAULT_POLICY } from '../scheduler/world.ts';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { facts } from '../../../test/harness/world-builder.ts';
import { aPool, aVm } from '../state/samples.ts';
import { ableTo, requestOf, WorldView } from './world.ts';

let c: AppCluster;
let view: WorldView;
beforeEach(async () => {
  c = await AppCluster.make();
  await c.import('base');
  view = new WorldView(c.life.state.tables, c.sim.hosts, DEFAULT_POLICY);
});
const host = (name: string) => view.now().hosts.find((h) => h.name === name);

it('is the same object while nothing changes', () => {
  expect(view.now().hosts).toBe(view.now().hosts);
});

it('has each claim at once, and not that of an update that was taken back', async () => {
  const { state } = c.life;
  expect(host('h1')?.claims.all).toEqual({ guests: 0, vcpus: 0, memoryBytes: 0 });
  await c.done(c.clone('web', { host: 'h1', vcpus: 2 }));
  const claimed = { guests: 1, vcpus: 2, memoryBytes: 512 * 2 ** 20 };
  expect(host('h1')?.claims).toMatchObject({ all: claimed, powered: { guests: 0 } });
  const [claim] = state.tables.claims.byHost(c.hostId('h1'));
  const failing = state.update((tx) => {
    tx.claims.put({ ...claim!, powered: true });
    expect(host('h1')?.claims.powered).toEqual(claimed);
    throw new Error('taken back');
  });
  await expect(failing).rejects.toThrow('taken back');
  expect(host('h1')?.claims).toMatchObject({ all: claimed, powered: { guests: 0 } });
});

it('follows rows within an update, and hosts that come and go', async () => {
  const { state } = c.life;
  const row = state.tables.hosts.byName('h1')!;
  await c.timed(
    state.update((tx) => {
      tx.hosts.put({ ...row, maintenance: true });
      expect(host('h1')?.maintenance).toBe(true);
    }),
  );
  expect(host('h2')?.state).toBe('up');
  c.sim.hosts.cut(c.hostId('h2'));
  expect(host('h2')?.state).toBe('unreachable');
  await c.timed(state.update((tx) => tx.hosts.delete(c.hostId('h3'))));
  expect(view.now().hosts.map((h) => h.name)).toEqual(['h1', 'h2']);
});

it('adds up once what is held in a shared pool, and anew when hosts have reported', async () => {
  const { tables } = c.life.state;
  const pool = aPool({ name: 'nfs', shared: true });
  await c.timed(c.life.state.update((tx) => tx.pools.put(pool)));
  for (const h of ['h1', 'h2', 'h3']) c.sim.hosts.host(c.hostId(h)).poolsHere.set(pool.id, 'up');
  const vm = aVm({ phase: 'creating' });
  const disks = [{ ...vm.spec.disks[0]!, imageId: undefined, poolId: pool.id, sizeBytes: 2 ** 50 }];
  const wish = requestOf({ ...vm, spec: { ...vm.spec, disks, nics: [] } }, tables, undefined);
  const world = view.now();
  const status = vi.spyOn(c.sim.hosts, 'status');
  const refused = refusals(world, wish);
  expect(refused.map((r) => r.filter)).toEqual(['pool', 'pool', 'pool']);
  expect(status.mock.calls.length).toBe(3);
  refusals(view.now(), wish);
  expect(status.mock.calls.length).toBe(6);
});

it('passes over a host that lacks the programs, where a guest is to be changed on its disk', () => {
  const check = { name: 'guest-customization', ok: true, detail: '', fatal: false };
  const able = facts({ checks: [check] });
  expect(ableTo(able)).toBe(able);
  const unable = ableTo(facts({ checks: [{ ...check, ok: false }] })).capabilities;
  expect(unable).not.toContain('volume.customize');
  expect(unable).toHaveLength(able.capabilities.length - 1);
});
