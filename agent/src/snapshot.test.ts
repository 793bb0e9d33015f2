/** SnapshotService over a real gRPC pair and simulated drivers: once per id, never a guest left standing, refused in words. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OperationState, type Operation } from '@berth/proto/agent/v1/operation.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { AgentWorld, call, context, fence } from './testing/world.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';
const ref = { uuid: UUID, vmId: 'vm-1' };
const MIB = 2n ** 20n;
let w: AgentWorld;
let ids = 0;

async function ensure(disks: readonly string[] = ['vda'], vcpus = 1): Promise<void> {
  const { domain, volume } = w.clients;
  for (const [i] of disks.entries())
    await call(volume, volume.ensureVolume, {
      ...{ context: context(`job-1.v${i}`), volumeId: `volume-${i}`, vmId: 'vm-1' },
      ...{ imageDigest: '', sizeBytes: 64n * MIB, poolId: '' },
    });
  await call(domain, domain.ensureDomain, {
    context: context(`job-1.define${++ids}`),
    spec: {
      ...{ ...ref, name: 'web', vcpus, memoryBytes: 512n * MIB, nics: [], cdroms: [], seedVolumeId: '' },
      ...{ generation: BigInt(ids), disks: disks.map((target, i) => ({ target, volumeId: `volume-${i}` })) },
    },
  });
}
const start = () =>
  call(w.clients.domain, w.clients.domain.startDomain, { context: context(`job-1.s${++ids}`), ...ref });

beforeEach(async () => {
  w = await AgentWorld.start();
});
afterEach(() => w.end());

const sim = () => w.drivers.sim.get(UUID);
async function ended(ask: () => Promise<Operation>): Promise<string> {
  for (;;) {
    const op = await ask();
    if (op.state === OperationState.RUNNING) continue;
    return op.state === OperationState.SUCCEEDED ? (op.detail ?? 'done') : `${op.errorReason}: ${op.errorMessage}`;
  }
}
const create = (name: string, over: { memory?: boolean; running?: boolean } = {}, id = `job-2.c${++ids}`) =>
  ended(() =>
    call(w.clients.snapshot, w.clients.snapshot.createSnapshot, {
      ...{ context: context(id), ...ref, name, description: 'why', memory: false, running: false, ...over },
    }),
  );
const revert = (name: string, force = false, id = `job-3.r${++ids}`) =>
  ended(() =>
    call(w.clients.snapshot, w.clients.snapshot.revertSnapshot, { context: context(id), ...ref, name, force }),
  );
const remove = (name: string, running = false, id = `job-4.d${++ids}`) =>
  ended(() =>
    call(w.clients.snapshot, w.clients.snapshot.deleteSnapshot, { context: context(id), ...ref, name, running }),
  );
const list = async () => (await call(w.clients.snapshot, w.clients.snapshot.listSnapshots, ref)).snapshots;

describe('a snapshot', () => {
  it('is made once per id, also by an agent that was started anew; reverted to, and deleted', async () => {
    await ensure(['vda', 'vdb']);
    expect(await create('a', {}, 'job-2.a')).toBe('stopped');
    await w.down();
    await w.up();
    expect(await create('a', {}, 'job-2.a')).toBe('stopped');
    expect(await list()).toMatchObject([
      {
        name: 'a',
        description: 'why',
        power: 'stopped',
        memory: false,
        disks: ['vda', 'vdb'],
        current: true,
        parent: '',
      },
    ]);
    await start();
    expect(await create('b', { memory: true, running: true })).toBe('memory');
    expect(await create('c', { running: true })).toMatch(/^(frozen|crash-consistent)$/);
    expect((await list()).map((s) => [s.name, s.power, s.parent])).toEqual([
      ['a', 'stopped', ''],
      ['b', 'running', 'a'],
      ['c', 'stopped', 'b'],
    ]);
    expect(await revert('a')).toContain('vm web is running on its host; stop it first, or use --force');
    expect(await revert('a', true)).toBe('done');
    expect(sim().power).toBe('stopped');
    expect(await revert('b')).toBe('done');
    expect(sim().power).toBe('running');
    for (const again of [false, true]) expect(await remove('b'), String(again)).toBe('done');
    expect((await list()).map((s) => [s.name, s.parent])).toEqual([
      ['a', ''],
      ['c', 'a'],
    ]);
  });

  it('never leaves a guest standing that ran, however it ended', async () => {
    await ensure();
    await start();
    const { snapshots } = w.drivers.hypervisor;
    const away = () => new ClusterError('HYPERVISOR_UNAVAILABLE', 'libvirt went away');
    vi.spyOn(snapshots, 'create').mockImplementationOnce(async () => {
      w.drivers.sim.suspend(UUID);
      throw away();
    });
    // the same is asked again, as a controller does, and finds the guest as the first one left it
    expect(await create('a', { memory: true, running: true })).toBe('memory');
    expect(snapshots.create).toHaveBeenCalledTimes(2);
    expect((await list())[0]).toMatchObject({ power: 'running' });
    expect(sim().power).toBe('running');
    // taken back after libvirt was away for longer: it stands, and the one that is begun again finds it so
    w.drivers.sim.suspend(UUID);
    expect(await remove('a', true)).toBe('done');
    expect(sim().power).toBe('running');
    w.drivers.sim.suspend(UUID);
    expect(await create('b', { memory: true, running: true })).toBe('memory');
    expect((await list())[0]).toMatchObject({ power: 'running' });
    // one that somebody has suspended stays so
    w.drivers.sim.suspend(UUID);
    expect(await create('c', { memory: true, running: false })).toBe('memory');
    expect(sim().power).toBe('paused');
  });

  it('that was cancelled is gone', async () => {
    await ensure();
    const { snapshots } = w.drivers.hypervisor;
    let go = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      const make = snapshots.create.bind(snapshots);
      vi.spyOn(snapshots, 'create').mockImplementationOnce(async (...args) => {
        resolve();
        await new Promise<void>((r) => (go = r));
        return make(...args);
      });
    });
    const { snapshot, operation } = w.clients;
    const request = { context: context('job-2.x'), ...ref, name: 'a', description: '', memory: false, running: false };
    await call(snapshot, snapshot.createSnapshot, request);
    await begun;
    const cancelled = call(operation, operation.cancelOperation, {
      fence: request.context.fence,
      operationId: 'job-2.x',
    });
    // answered on the same connection, so the cancel has been heard
    await call(operation, operation.getOperation, { operationId: 'job-2.x' });
    go();
    await cancelled;
    await vi.waitFor(async () => expect(await list()).toEqual([]), { timeout: 10_000, interval: 10 });
  });

  it('is neither gone back to nor deleted once that was cancelled, also by an agent that was started anew', async () => {
    await ensure();
    expect(await create('a')).toBe('stopped');
    const { snapshots } = w.drivers.hypervisor;
    let go = (): void => undefined;
    const held = new Promise<void>((resolve) => (go = resolve));
    const making = vi.spyOn(snapshots, 'create').mockImplementation(() => held);
    const reverting = vi.spyOn(snapshots, 'revert');
    const removing = vi.spyOn(snapshots, 'remove');
    const b = { ...ref, name: 'b', description: '', memory: false, running: false };
    await call(w.clients.snapshot, w.clients.snapshot.createSnapshot, { context: context('job-2.b'), ...b });
    await vi.waitFor(() => expect(making).toHaveBeenCalledTimes(1), { timeout: 10_000 });
    // both wait for their turn
    const a = { ...ref, name: 'a' };
    await call(w.clients.snapshot, w.clients.snapshot.revertSnapshot, {
      context: context('job-3.a'),
      ...a,
      force: true,
    });
    await call(w.clients.snapshot, w.clients.snapshot.deleteSnapshot, {
      context: context('job-4.a'),
      ...a,
      running: false,
    });
    await w.down();
    await w.up();
    await vi.waitFor(() => expect(making).toHaveBeenCalledTimes(2), { timeout: 10_000 });
    for (const operationId of ['job-3.a', 'job-4.a'])
      await call(w.clients.operation, w.clients.operation.cancelOperation, { fence: fence(), operationId });
    expect([reverting.mock.calls, removing.mock.calls]).toEqual([[], []]);
    expect((await list()).map((s) => s.name)).toEqual(['a']);
    go();
  });

  it.each(['revert', 'remove'] as const)(
    'tells who cancels what cannot be taken back any more how it ended: %s, also by an agent that was started anew',
    async (verb) => {
      await ensure();
      expect(await create('a')).toBe('stopped');
      const { snapshots } = w.drivers.hypervisor;
      const really = snapshots[verb].bind(snapshots);
      let go = (): void => undefined;
      const held = new Promise<void>((resolve) => (go = resolve));
      const asked = vi.spyOn(snapshots, verb).mockImplementation(async (uuid, name) => {
        await held;
        await really(uuid, name);
      });
      const { snapshot } = w.clients;
      const which = { ...ref, name: 'a' };
      if (verb === 'revert')
        await call(snapshot, snapshot.revertSnapshot, { context: context('job-3.a'), ...which, force: false });
      else await call(snapshot, snapshot.deleteSnapshot, { context: context('job-3.a'), ...which, running: false });
      await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(1), { timeout: 10_000 });
      await w.down();
      await w.up();
      const again = w.clients.operation;
      const cancelled = call(again, again.cancelOperation, { fence: fence(), operationId: 'job-3.a' });
      // answered on the same connection, so the cancel has been heard
      await call(again, again.getOperation, { operationId: 'job-3.a' });
      await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(2), { timeout: 10_000 });
      go();
      expect((await cancelled).state).toBe(OperationState.SUCCEEDED);
    },
  );

  it('says of a revert that failed in the middle what the disks may hold', async () => {
    await ensure();
    expect(await create('a')).toBe('stopped');
    vi.spyOn(w.drivers.hypervisor.snapshots, 'revert').mockRejectedValueOnce(
      new ClusterError('INTERNAL', 'qemu-img: no room'),
    );
    expect(await revert('a')).toBe(
      'INTERNAL: qemu-img: no room. Its disks may be of two moments now: go back again (berth vm snapshot revert web a) ' +
        'before it is started',
    );
  });

  it('that libvirt knows no more goes from the disks that may hold it', async () => {
    await ensure(['vda', 'vdb']);
    expect(await create('a')).toBe('stopped');
    const { snapshots } = w.drivers.hypervisor;
    w.drivers.sim.snapshots.delete(UUID);
    const clearing = vi.spyOn(snapshots, 'clear');
    expect(await remove('a')).toBe('done');
    expect(clearing.mock.calls).toEqual([[UUID, { name: 'a', description: '', disks: ['vda', 'vdb'], others: [] }]]);
  });

  it('brings back the definition of then, and only for disks that it still has', async () => {
    await ensure();
    const xml = sim().xml;
    expect(await create('a')).toBe('stopped');
    await ensure(['vda'], 2);
    expect(sim().xml).not.toBe(xml);
    expect(await revert('a')).toBe('done');
    expect(sim().xml).toBe(xml);
    await ensure([]);
    expect(await revert('a')).toContain('disk vda of snapshot a is not a disk of vm web any more');
  });
});

describe('refused is', () => {
  it('a snapshot of a saved guest, and a revert of it without force, which would go on over other disks', async () => {
    await ensure();
    expect(await create('a')).toBe('stopped');
    await start();
    w.drivers.sim.save(UUID);
    expect(await create('b')).toContain('BAD_STATE: vm web is saved');
    expect(await revert('a')).toContain('vm web is saved on its host');
    expect(await revert('a', true)).toBe('done');
    expect(sim()).toMatchObject({ power: 'stopped', reason: 'none' });
  });

  it('an odd name, one that is not there, and the domain of another vm', async () => {
    await ensure();
    await expect(create('../x')).rejects.toThrow(/snapshot name/);
    expect(await revert('nope')).toContain('NOT_FOUND: vm web has no snapshot nope on its host');
    const other = { uuid: UUID, vmId: 'vm-2' };
    await expect(call(w.clients.snapshot, w.clients.snapshot.listSnapshots, other)).rejects.toThrow(/belongs to vm-1/);
  });

  it('one of a vm without disks', async () => {
    await ensure([]);
    expect(await create('a')).toBe('UNSUPPORTED: vm web can have no snapshot: it has no disk');
  });
});
