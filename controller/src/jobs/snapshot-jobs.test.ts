/** Jobs of snapshots against the promises of the job harness. */
import { describe, expect, it } from 'vitest';
import type { Vm, VmSnapshot } from '@berth/shared/model/vm.ts';
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { checkJob, type Adversary } from '../../../test/harness/job-harness.ts';
import type { Tx } from '../state/state.ts';
import { snapshotCreate } from './snapshot-create.ts';
import { snapshotDelete } from './snapshot-delete.ts';
import { liveOf, snapshotRevert } from './snapshot-revert.ts';
import { withSnapshot } from './snapshot-rows.ts';
import { withoutPower, worldOf } from './testing.ts';

const row = (vm: Vm, over: Partial<VmSnapshot> = {}): VmSnapshot => ({
  ...{
    name: 's1',
    description: '',
    createdAtMs: 1,
    phase: 'ready',
    memory: false,
    power: 'stopped',
    consistency: 'stopped',
  },
  disks: vm.spec.disks.map((d) => d.target),
  spec: { vcpus: vm.spec.vcpus, memoryBytes: vm.spec.memoryBytes, disks: vm.spec.disks, nics: vm.spec.nics },
  ...over,
});

/** A VM with one snapshot, as its host has it. */
const withOne = (power: 'running' | 'stopped', over: Partial<VmSnapshot>) => (adversary: Adversary) => {
  const cluster = new ClusterWorld(adversary);
  const { vm, put } = cluster.vmThere(power);
  const s = row(vm, over);
  const { name, description, createdAtMs, memory, power: then, disks } = s;
  const seen = {
    name,
    description,
    createdAtMs,
    memory,
    power: then,
    disks,
    parent: '',
    current: true,
    external: false,
  };
  const host = cluster.fake(0);
  if (s.phase !== 'creating') host.snapshotsHere.set(`${vm.uuid}/s1`, { seen, domain: host.domains.get(vm.uuid)! });
  const both = (tx: Tx): void => (put(tx), tx.vms.put(withSnapshot(vm, s)));
  return { cluster, vm, put: both };
};

/** The row is there from the beginning, and goes when its making is taken back. */
const withoutRow = (raw: unknown): unknown => {
  const { vms = {} } = (raw as { durable: Record<string, Record<string, { snapshots?: VmSnapshot[] }>> }).durable;
  for (const vm of Object.values(vms)) if (vm.snapshots?.[0]?.phase === 'creating') delete vm.snapshots;
  return withoutPower(raw);
};

/** What was deleted stays so; the row is then of one that its host does not have. */
function withoutDeleted(raw: unknown): unknown {
  for (const host of (raw as { hosts: { snapshots?: unknown }[] }).hosts) delete host.snapshots;
  return withoutPower(raw);
}

describe('each job of snapshots keeps the promises of jobs', () => {
  it.each(['running', 'stopped'] as const)('snapshot.create of a %s vm', async (power) => {
    const world = (adversary: Adversary) => {
      const { cluster, vm, put } = withOne(power, { phase: 'creating', memory: power === 'running' })(adversary);
      return worldOf(cluster, { vmId: vm.id, name: 's1' }, put, withoutRow);
    };
    expect((await checkJob(snapshotCreate, world)).runs).toBeGreaterThan(50);
  });

  it.each([
    ['of its disks', { memory: false, power: 'stopped' }],
    ['with memory', { memory: true, power: 'running' }],
  ] as const)('snapshot.revert %s', async (_, over) => {
    const world = (adversary: Adversary) => {
      const { cluster, vm, put } = withOne('stopped', over)(adversary);
      return worldOf(cluster, { vmId: vm.id, name: 's1', force: false }, put, withoutPower);
    };
    expect((await checkJob(snapshotRevert, world)).runs).toBeGreaterThan(50);
  });

  it('snapshot.delete', async () => {
    const world = (adversary: Adversary) => {
      const { cluster, vm, put } = withOne('stopped', {})(adversary);
      return worldOf(cluster, { vmId: vm.id, name: 's1' }, put, withoutDeleted);
    };
    expect((await checkJob(snapshotDelete, world)).runs).toBeGreaterThan(30);
  });
});

describe('what a guest goes on with', () => {
  const cluster = new ClusterWorld({ decide: () => false } as never);
  const { vm } = cluster.vmThere('stopped');

  it('is what it had, where that is other than now', () => {
    const bigger = { ...vm, spec: { ...vm.spec, memoryBytes: vm.spec.memoryBytes * 2, labels: { team: 'a' } } };
    const live = liveOf(bigger, row(vm, { memory: true, power: 'running' }));
    expect(live).toMatchObject({ memoryBytes: vm.spec.memoryBytes, labels: { team: 'a' } });
  });

  it('is its definition of now when nothing has changed, or without memory', () => {
    expect(liveOf(vm, row(vm, { memory: true, power: 'running' }))).toBeUndefined();
    expect(liveOf({ ...vm, spec: { ...vm.spec, vcpus: 9 } }, row(vm))).toBeUndefined();
  });
});
