/** Every job but those of images, volumes and pools (storage-jobs.test.ts) against the promises of the job harness, in a cluster of awkward hosts. */
import { describe, expect, it } from 'vitest';
import { newId } from '@berth/shared/model/ids.ts';
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { checkJob, type Adversary } from '../../../test/harness/job-harness.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { aPool } from '../state/samples.ts';
import type { State, Tx } from '../state/state.ts';
import { claimOf } from './world.ts';
import { caRotate } from './ca-rotate.ts';
import { imageFetch } from './image-fetch.ts';
import { vmBatch } from './vm-batch.ts';
import { poolImage } from './pool-image.ts';
import { vmClone } from './vm-clone.ts';
import { vmCreate } from './vm-create.ts';
import { vmCustomize } from './vm-customize.ts';
import { vmDelete } from './vm-delete.ts';
import { vmReset, vmResume, vmSuspend } from './vm-power.ts';
import { vmReboot } from './vm-reboot.ts';
import { vmSave } from './vm-save.ts';
import { vmStart } from './vm-start.ts';
import { vmStop } from './vm-stop.ts';
import { vmUpdate } from './vm-update.ts';
import {
  withoutPower,
  withoutPromised,
  withoutCopies,
  withoutSeeds,
  asItWas,
  worldOf,
  FakeCas,
  making,
  withoutPools,
} from './testing.ts';

describe('each job keeps the promises of jobs', () => {
  it('vm.clone into a shared pool that lacks the image', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const pool = aPool({ name: 'nfs', shared: true });
      for (const i of [0, 1, 2] as const) cluster.fake(i).poolsHere.set(pool.id, 'up');
      const made = cluster.vmToMake(true);
      const disks = made.spec.disks.map((d) => ({ ...d, poolId: pool.id }));
      const vm = { ...made, spec: { ...made.spec, disks } };
      const params = { vmId: vm.id, hostId: cluster.hosts[1].id, imageId: cluster.image.id };
      const put = (tx: Tx): void => (tx.pools.put(pool), tx.vms.put(vm));
      const canonical = (raw: unknown) => withoutPools(withoutCopies(raw));
      return { ...worldOf(cluster, params, put, canonical), defs: [imageFetch, poolImage] };
    };
    await checkJob(vmClone, world);
  });

  it('vm.create', async () => {
    expect((await checkJob(vmCreate, making(false, 0))).runs).toBeGreaterThan(100);
  });

  it('vm.clone that is instant, on a host that lacks the image', async () => {
    const instant = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      for (const h of cluster.hosts) cluster.fakes.host(h.id).capabilities = ['clone.instant', 'image.hashes'];
      const vm = cluster.vmToMake(true);
      const params = { vmId: vm.id, hostId: cluster.hosts[1].id, imageId: cluster.image.id, kind: 'instant' as const };
      return worldOf(cluster, params, (tx) => tx.vms.put(vm), withoutCopies);
    };
    expect((await checkJob(vmClone, instant)).runs).toBeGreaterThan(100);
  });

  it('vm.clone on a host that has the image', async () => {
    expect((await checkJob(vmClone, making(true, 0))).runs).toBeGreaterThan(100);
  });

  it('vm.clone on a host that has to fetch the image', async () => {
    expect((await checkJob(vmClone, making(true, 1))).runs).toBeGreaterThan(100);
  });

  it('vm.batch that makes all or none, one of them on a host that has to fetch the image', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      // what hosts tell is in the order of ids, which are told apart by that alone
      const made = ([0, 1] as const).map((at, i) => {
        const vm = cluster.vmToMake(true);
        const volume = (n: number) => newId('volume', 1_700_000_000_000 + 10 * i + n);
        const nics = vm.spec.nics.map((n) => ({ ...n, mac: `52:54:00:00:00:0${i}` }));
        const disks = vm.spec.disks.map((d) => ({ ...d, volumeId: volume(1) }));
        const ids = { id: newId('vm', 1_700_000_000_000 + i), uuid: `00000000-0000-4000-8000-00000000000${i}` };
        const spec = { ...vm.spec, nics, disks, seedVolumeId: volume(2) };
        return { ...vm, ...ids, name: `web-${i}`, hostId: cluster.hosts[at].id, spec };
      });
      const rows = made.map((vm) => ({
        name: vm.name,
        clone: { vmId: vm.id, hostId: vm.hostId, imageId: cluster.image.id },
      }));
      const put = (tx: Tx) => {
        for (const vm of made) {
          tx.vms.put(vm);
          tx.claims.put(claimOf(vm, vm.hostId, false));
        }
      };
      const base = worldOf(cluster, { rows, atomic: true }, put, withoutPromised);
      return { ...base, defs: [imageFetch, vmClone, vmDelete] };
    };
    expect((await checkJob(vmBatch, world)).runs).toBeGreaterThan(100);
  }, 60_000);

  it('vm.clone of a guest that is told who it is on its disk', async () => {
    expect((await checkJob(vmClone, making(true, 0, 'offline'))).runs).toBeGreaterThan(100);
  });

  it('vm.customize', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('stopped');
      const network = {
        mac: vm.spec.nics[0]?.mac ?? '',
        address: '10.0.0.7/24',
        gateway: '10.0.0.1',
        dns: ['10.0.0.1'],
      };
      return worldOf(cluster, { vmId: vm.id, actions: { hostname: 'db' }, network }, put);
    };
    await checkJob(vmCustomize, world);
  });

  it('vm.start', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('stopped');
      return worldOf(cluster, { vmId: vm.id }, put);
    };
    await checkJob(vmStart, world);
  });

  it('vm.start of a guest whose seed has done its work', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('stopped');
      const booted = (tx: Tx) => {
        put(tx);
        tx.vms.put({ ...vm, firstBootAtMs: 0 });
      };
      return worldOf(cluster, { vmId: vm.id }, booted, withoutSeeds);
    };
    expect((await checkJob(vmStart, world)).runs).toBeGreaterThan(50);
  });

  it.each([
    ['by asking', { force: false, timeoutMs: 60_000, thenForce: false }],
    ['by force', { force: true, timeoutMs: 60_000, thenForce: false }],
    ['by its power button', { force: false, timeoutMs: 60_000, thenForce: false, mode: 'acpi' as const }],
    ['and saving it', { force: false, timeoutMs: 0, thenForce: false, then: 'save' as const }],
  ])('vm.stop %s', async (_, how) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('running');
      return worldOf(cluster, { vmId: vm.id, ...how }, put, withoutPower);
    };
    await checkJob(vmStop, world);
  });

  it.each([
    ['vm.reboot', vmReboot, 'running'],
    ['vm.reset', vmReset, 'running'],
    ['vm.suspend', vmSuspend, 'running'],
    ['vm.resume', vmResume, 'paused'],
    ['vm.save', vmSave, 'running'],
  ] as const)('%s', async (_, job, power) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere(power);
      return worldOf(cluster, { vmId: vm.id, timeoutMs: 60_000 }, put, withoutPower);
    };
    await checkJob(job, world);
  });

  it.each(['running', 'stopped'] as const)('vm.update of a %s vm: a disk, a medium, memory, vCPUs', async (power) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmToUpdate(power);
      return worldOf(cluster, { vmId: vm.id }, put, asItWas);
    };
    expect((await checkJob(vmUpdate, world)).runs).toBeGreaterThan(100);
  });

  it.each([
    ['of a stopped vm', 'stopped', false],
    ['of a running vm by force', 'running', true],
  ] as const)('vm.delete %s', async (_, power, force) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere(power);
      return worldOf(cluster, { vmId: vm.id, force }, put, force ? withoutPower : undefined);
    };
    await checkJob(vmDelete, world);
  });

  it('ca.rotate', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const cas = new FakeCas(adversary);
      const base = worldOf(cluster, { overlapMs: 2_000, patienceMs: 60_000 }, () => undefined);
      return {
        ...base,
        deps: (s: State, k: Clock) => ({ ...cluster.deps(s, k), ca: cas }),
        hosts: () => cas.contents(),
      };
    };
    expect((await checkJob(caRotate, world)).runs).toBeGreaterThan(50);
  });
});
