/** Every job against the promises of the job harness, in a cluster of awkward hosts. */
import { describe, expect, it } from 'vitest';
import { newId } from '@berth/shared/model/ids.ts';
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { checkJob, type Adversary, type JobWorld } from '../../../test/harness/job-harness.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { aPool } from '../state/samples.ts';
import type { State, Tx } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { claimOf } from './world.ts';
import { caRotate } from './ca-rotate.ts';
import type { CaRotation } from './ca-rotation.ts';
import { imageCapture } from './image-capture.ts';
import { imageDelete } from './image-delete.ts';
import { imageEvict } from './image-evict.ts';
import { imageExport } from './image-export.ts';
import { imageFetch } from './image-fetch.ts';
import { imageImport, uploadIdOf } from './image-import.ts';
import { vmBatch } from './vm-batch.ts';
import { poolImage } from './pool-image.ts';
import { poolChange, poolCreate, poolRemove } from './pools.ts';
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
import { volumeAttach, volumeDetach } from './volume-attach.ts';
import { volumeCreate } from './volume-create.ts';
import { volumeDelete } from './volume-delete.ts';
import { volumeResize } from './volume-resize.ts';
import { volumeRewrite, volumeWipe } from './volume-rewrite.ts';

type Snapshot = {
  durable: Record<string, Record<string, Record<string, unknown>>>;
  hosts: { domains: [string, { power?: string; reason?: string }][]; images: unknown[] }[];
};

/** The row of an object that is being made belongs to its job: it was put when the job was started. */
function withoutHalfMade(raw: unknown): unknown {
  const s = raw as Snapshot;
  for (const [table, half] of [
    ['vms', 'creating'],
    ['images', 'importing'],
    ['volumes', 'creating'],
    ['pools', 'creating'],
  ] as const) {
    const rows = Object.entries(s.durable[table] ?? {}).filter(([, r]) => r['phase'] !== half && r['state'] !== half);
    s.durable[table] = Object.fromEntries(rows);
  }
  return s;
}

/** What was done to a guest stays done: it is not started again, or stopped, by an undo. */
function withoutPower(raw: unknown): unknown {
  for (const host of (raw as Snapshot).hosts)
    for (const [, d] of host.domains) for (const key of ['power', 'reason'] as const) delete d[key];
  return raw;
}

/** The room for VMs that are being made together was claimed with their rows. */
function withoutPromised(raw: unknown): unknown {
  const s = raw as Snapshot;
  for (const [id, row] of Object.entries(s.durable['vms'] ?? {}))
    if (row['phase'] === 'creating') delete s.durable['claims']?.[id];
  s.durable['claims'] ??= {};
  return withoutCopies(s);
}

/** Copies that were fetched on the way are kept: the next VM there needs them. */
function withoutCopies(raw: unknown): unknown {
  const s = withoutHalfMade(raw) as Snapshot;
  delete s.durable['imageCopies'];
  for (const host of s.hosts) host.images = [];
  return s;
}

/** It is made by the job's last step, at that moment. */
function detached(raw: unknown): unknown {
  for (const row of Object.values((raw as Snapshot).durable['volumes'] ?? {})) delete row['createdAtMs'];
  return asItWas(raw);
}

/** A seed that was taken out stays out: what is left of it is a debt. */
function withoutSeeds(raw: unknown): unknown {
  const s = withoutPower(raw) as Snapshot & {
    hosts: { volumes: [string, { seed?: boolean }][]; domains: [string, { wanted?: { seedVolumeId?: string } }][] }[];
  };
  delete s.durable['debts'];
  for (const row of Object.values(s.durable['vms'] ?? {}))
    delete (row as { spec: { seedVolumeId?: string } }).spec.seedVolumeId;
  for (const host of s.hosts) {
    host.volumes = host.volumes.filter(([, v]) => v.seed !== true);
    for (const [, d] of host.domains) delete d.wanted?.seedVolumeId;
  }
  return s;
}

/** A disk that has grown is not cut again. */
function withoutSizes(raw: unknown): unknown {
  for (const host of (raw as { hosts: { volumes: [string, { sizeBytes?: number }][] }[] }).hosts)
    for (const [, v] of host.volumes) delete v.sizeBytes;
  return raw;
}

/** The row was put when the job was started, with what it goes back to; a definition made anew tells a newer generation. */
function asItWas(raw: unknown): unknown {
  const s = withoutPower(raw) as Snapshot;
  for (const [id, row] of Object.entries(s.durable['vms'] ?? {})) {
    const { before, ...rest } = row as { before?: object };
    s.durable['vms']![id] = { ...rest, ...before };
  }
  for (const host of s.hosts)
    for (const [, d] of host.domains) delete (d as { wanted?: { generation?: number } }).wanted?.generation;
  delete s.durable['claims'];
  return s;
}

function worldOf<P>(
  cluster: ClusterWorld,
  params: P,
  put: (tx: Tx) => void,
  canonical: (raw: unknown) => unknown = (raw) => raw,
): JobWorld<P, JobDeps> {
  return {
    params,
    canonical,
    seed(tx) {
      cluster.seed(tx);
      put(tx);
    },
    deps: (state, clock) => cluster.deps(state, clock),
    hosts: () => cluster.contents(),
    defs: [imageFetch],
  };
}

/** CAs on a disk that no crash of the controller touches; hosts learn when they please. */
class FakeCas implements CaRotation {
  private cas = { active: 'old', next: '', issuing: 'old', by: '', done: '' };

  constructor(private readonly adversary: Adversary) {}

  contents = () => [{ domains: [], images: [], active: this.cas.active, next: this.cas.next }];
  begin = async (id: string) => {
    if (this.cas.done !== id) this.cas = { ...this.cas, next: 'new', by: id };
  };
  abandon = async (id: string) => {
    if (this.cas.by === id && this.cas.issuing === 'old') this.cas = { ...this.cas, next: '', by: '' };
  };
  issue = async () => void (this.cas.issuing = this.cas.next || this.cas.issuing);
  finish = async (id: string) => {
    if (this.cas.done === id) return;
    if (this.cas.issuing !== 'new') throw new Error('the old CA would go while it still signs');
    this.cas = { active: 'new', next: '', issuing: 'new', by: '', done: id };
  };
  untold = () => (this.adversary.pick(3) === 0 ? ['h2'] : []);
  unissued = () => (this.adversary.pick(3) === 0 ? ['h2', 'h1'] : []);
  hurried = () => false;
}

const making = (withImage: boolean, at: 0 | 1, identity?: 'offline') => (adversary: Adversary) => {
  const cluster = new ClusterWorld(adversary);
  const seeded = cluster.vmToMake(withImage);
  const vm = identity ? { ...seeded, spec: { ...seeded.spec, identity, seedVolumeId: undefined } } : seeded;
  const params = { vmId: vm.id, hostId: cluster.hosts[at].id, imageId: cluster.image.id };
  return worldOf(cluster, params, (tx) => tx.vms.put(vm), at === 0 ? withoutHalfMade : withoutCopies);
};

/** What was made on some hosts stays, until the same command does the rest; looked at without that. */
function withoutPools(raw: unknown): unknown {
  const s = raw as Snapshot;
  for (const host of s.hosts) delete (host as { pools?: unknown }).pools;
  return s;
}

const onPool = (state: 'creating' | 'ready', there: boolean, more: object) => (adversary: Adversary) => {
  const cluster = new ClusterWorld(adversary);
  const pool = aPool({ name: 'fast', state, shared: true });
  if (there) for (const i of [0, 1] as const) cluster.fake(i).poolsHere.set(pool.id, 'up');
  const params = { poolId: pool.id, hostIds: [cluster.hosts[0].id, cluster.hosts[1].id], ...more } as never;
  return worldOf(cluster, params, (tx) => tx.pools.put(pool), there ? withoutPools : withoutHalfMade);
};

describe('each job keeps the promises of jobs', () => {
  it('pool.create', async () => {
    expect((await checkJob(poolCreate, onPool('creating', false, {}))).runs).toBeGreaterThan(50);
  });

  it.each(['start', 'stop', 'refresh'])('pool.change, to %s', async (verb) => {
    await checkJob(poolChange, onPool('ready', true, { verb }));
  });

  it('pool.image', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const pool = aPool({ name: 'nfs', shared: true });
      cluster.fake(0).poolsHere.set(pool.id, 'up');
      const params = { poolId: pool.id, imageId: cluster.image.id, hostId: cluster.hosts[0].id };
      return worldOf(cluster, params, (tx) => tx.pools.put(pool), withoutPools);
    };
    await checkJob(poolImage, world);
  });

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

  it('pool.remove', async () => {
    await checkJob(poolRemove, onPool('ready', true, {}));
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

  it('image.import', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const image = {
        ...cluster.image,
        id: newId('image', 1_700_000_000_000),
        name: 'new',
        state: 'importing' as const,
      };
      let sent = false;
      cluster.onAsked = (state, uploads) => {
        const job = state.tables.jobs.open()[0];
        if (!job || job.state === 'unwinding' || sent) return;
        sent = true;
        cluster.fake(1).uploads.set(uploadIdOf(job.id), 'new-disk');
        uploads.received(image.id, 8);
      };
      const { id: hostId } = cluster.hosts[1];
      const params = { imageId: image.id, hostId, fileBytes: 8, format: '', ticketHash: '' };
      return worldOf(cluster, params, (tx) => tx.images.put({ ...image, digest: undefined }), withoutHalfMade);
    };
    await checkJob(imageImport, world);
  });

  it.each(['stopped', 'running'] as const)('image.capture of a %s vm', async (power) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere(power);
      const image = { ...cluster.image, id: newId('image', 1_700_000_000_000), name: 'new', digest: undefined };
      const disks = vm.spec.disks.map((d) => ({ target: d.target, volumeId: d.volumeId, imageId: image.id }));
      const seed = (tx: Tx) => {
        put(tx);
        tx.images.put({ ...image, state: 'importing' });
      };
      return worldOf(cluster, { vmId: vm.id, disks }, seed, withoutHalfMade);
    };
    expect((await checkJob(imageCapture, world)).runs).toBeGreaterThan(100);
  });

  it('image.fetch', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      return worldOf(cluster, { imageId: cluster.image.id, hostId: cluster.hosts[2].id }, () => undefined);
    };
    await checkJob(imageFetch, world);
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

  it.each([
    ['blank', 0, false],
    ['over an image that its host has to fetch', 1, true],
  ] as const)('volume.create, %s', async (_, at, withImage) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const volume = cluster.volume({ state: 'creating', hostId: cluster.hosts[at].id, withImage });
      const options = { preallocation: 'off', clusterBytes: 0, lazyRefcounts: false } as const;
      const params = { volumeId: volume.id, hostId: cluster.hosts[at].id, ...options };
      return worldOf(cluster, params, (tx) => tx.volumes.put(volume), withoutCopies);
    };
    expect((await checkJob(volumeCreate, world)).runs).toBeGreaterThan(50);
  });

  it('volume.delete', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const volume = cluster.volumeThere();
      return worldOf(cluster, { volumeId: volume.id }, (tx) => tx.volumes.put(volume));
    };
    await checkJob(volumeDelete, world);
  });

  it('volume.resize of one that stands alone, and of the disk of a vm that runs', async () => {
    const how = { sizeBytes: 2 ** 36, shrink: false };
    const alone = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const volume = cluster.volumeThere();
      return worldOf(cluster, { volumeId: volume.id, ...how }, (tx) => tx.volumes.put(volume), withoutSizes);
    };
    await checkJob(volumeResize, alone);
    const ofVm = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('running');
      return worldOf(cluster, { volumeId: vm.spec.disks[0]!.volumeId, vmId: vm.id, ...how }, put, withoutSizes);
    };
    await checkJob(volumeResize, ofVm);
  });

  it('image.export', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      cluster.onAsked = (state, uploads) => {
        const job = state.tables.jobs.open()[0];
        if (job) uploads.received(job.id, 1);
      };
      const params = { imageId: cluster.image.id, format: 'raw', ticketHash: '' };
      return worldOf(cluster, params, () => undefined, withoutHalfMade);
    };
    await checkJob(imageExport, world);
  });

  it('image.evict', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      cluster.fake(1).images.set('sha256:base', { virtualSizeBytes: 2 ** 30, fileBytes: 2 ** 24 });
      const copy = { imageId: cluster.image.id, hostId: cluster.hosts[1].id, fileBytes: 2 ** 24 };
      const params = { digest: 'sha256:base', hostIds: [copy.hostId], imageIds: [copy.imageId] };
      return worldOf(cluster, params, (tx) => tx.imageCopies.put(copy));
    };
    await checkJob(imageEvict, world);
  });

  it('volume.rewrite and volume.wipe of one that stands alone, and of the disk of a vm that is off', async () => {
    const alone = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const volume = cluster.volumeThere();
      return worldOf(cluster, { volumeId: volume.id, format: 'raw' }, (tx) => tx.volumes.put(volume), withoutSizes);
    };
    const ofVm = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('stopped');
      const params = { volumeId: vm.spec.disks[0]!.volumeId, vmId: vm.id, format: 'raw' };
      return worldOf(cluster, params, put, withoutSizes);
    };
    for (const world of [alone, ofVm]) {
      await checkJob(volumeRewrite, world as never);
      await checkJob(volumeWipe, world as never);
    }
  });

  it.each(['running', 'stopped'] as const)(
    'volume.attach to a %s vm, and volume.detach',
    async (power) => {
      const attach = (adversary: Adversary) => {
        const cluster = new ClusterWorld(adversary);
        const volume = cluster.volumeThere();
        const { vm, put } = cluster.vmThere(power);
        const disk = { target: 'vdb', volumeId: volume.id, sizeBytes: volume.sizeBytes, imageId: undefined };
        const after = { ...vm, before: { spec: vm.spec }, spec: { ...vm.spec, disks: [...vm.spec.disks, disk] } };
        const params = { volumeId: volume.id, vmId: vm.id, target: 'vdb' };
        const all = (tx: Tx) => (put(tx), tx.volumes.put(volume), tx.vms.put(after));
        return worldOf(cluster, params, all, asItWas);
      };
      expect((await checkJob(volumeAttach, attach)).runs).toBeGreaterThan(100);
      const detach = (adversary: Adversary) => {
        const cluster = new ClusterWorld(adversary);
        const { vm, put } = cluster.vmThere(power);
        const [disk] = vm.spec.disks;
        const after = { ...vm, before: { spec: vm.spec }, spec: { ...vm.spec, disks: [] } };
        const params = { volumeId: disk!.volumeId, vmId: vm.id, target: 'vda', name: 'web-vda' };
        return worldOf(cluster, params, (tx) => (put(tx), tx.vms.put(after)), detached);
      };
      expect((await checkJob(volumeDetach, detach)).runs).toBeGreaterThan(100);
    },
    60_000,
  );

  it('image.delete', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      cluster.fake(1).images.set('sha256:base', { virtualSizeBytes: 2 ** 30, fileBytes: 2 ** 24 });
      const copy = { imageId: cluster.image.id, hostId: cluster.hosts[1].id, fileBytes: 2 ** 24 };
      return worldOf(cluster, { imageId: cluster.image.id }, (tx) => tx.imageCopies.put(copy));
    };
    await checkJob(imageDelete, world);
  });
});
