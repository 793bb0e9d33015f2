/** Jobs of images, volumes and pools against the promises of the job harness; the others are in all-jobs.test.ts. */
import { describe, expect, it } from 'vitest';
import { newId } from '@berth/shared/model/ids.ts';
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { checkJob, type Adversary } from '../../../test/harness/job-harness.ts';
import { aPool } from '../state/samples.ts';
import type { Tx } from '../state/state.ts';
import { imageCapture } from './image-capture.ts';
import { imageDelete } from './image-delete.ts';
import { imageEvict } from './image-evict.ts';
import { imageExport } from './image-export.ts';
import { imageFetch } from './image-fetch.ts';
import { imageImport, uploadIdOf } from './image-import.ts';
import { poolImage } from './pool-image.ts';
import { poolChange, poolCreate, poolMend, poolRemove } from './pools.ts';
import { volumeAttach, volumeDetach } from './volume-attach.ts';
import { volumeCreate } from './volume-create.ts';
import { volumeDelete } from './volume-delete.ts';
import { volumeExport } from './volume-export.ts';
import { volumeMove } from './volume-move.ts';
import { volumeTransfer, volumeTransferV1 } from './volume-transfer.ts';
import { volumeResize } from './volume-resize.ts';
import { volumeRewrite, volumeWipe } from './volume-rewrite.ts';
import {
  withoutHalfMade,
  withoutCopies,
  detached,
  withoutSizes,
  asItWas,
  worldOf,
  withoutPools,
  onPool,
} from './testing.ts';

describe('each job of images, volumes and pools keeps the promises of jobs', () => {
  it('pool.create', async () => {
    expect((await checkJob(poolCreate, onPool('creating', false, {}))).runs).toBeGreaterThan(50);
  });

  it.each(['start', 'stop', 'refresh'])('pool.change, to %s', async (verb) => {
    await checkJob(poolChange, onPool('ready', true, { verb }));
    if (verb === 'start') await checkJob(poolMend, onPool('ready', true, { verb }));
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

  it('pool.remove', async () => {
    await checkJob(poolRemove, onPool('ready', true, {}));
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

  it.each([
    ['stopped', false, undefined],
    ['running', false, undefined],
    ['stopped', true, undefined],
    ['running', true, 's1'],
  ] as const)(
    'image.capture of a %s vm, generalized: %s, as it was in snapshot %s',
    async (power, generalize, snapshot) => {
      const world = (adversary: Adversary) => {
        const cluster = new ClusterWorld(adversary);
        const { vm, put } = cluster.vmThere(power);
        const image = { ...cluster.image, id: newId('image', 1_700_000_000_000), name: 'new', digest: undefined };
        const disks = vm.spec.disks.map((d) => ({ target: d.target, volumeId: d.volumeId, imageId: image.id }));
        const seed = (tx: Tx) => {
          put(tx);
          tx.images.put({ ...image, state: 'importing' });
        };
        const params = { vmId: vm.id, disks, generalize, ...(snapshot !== undefined && { snapshot }) };
        return worldOf(cluster, params, seed, withoutHalfMade);
      };
      expect((await checkJob(imageCapture, world)).runs).toBeGreaterThan(100);
    },
  );

  it('image.fetch', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      return worldOf(cluster, { imageId: cluster.image.id, hostId: cluster.hosts[2].id }, () => undefined);
    };
    await checkJob(imageFetch, world);
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

  it.each([
    ['larger', { sizeBytes: 2 ** 36, shrink: false }],
    ['smaller', { sizeBytes: 2 ** 20, shrink: true }],
  ])('volume.resize, to be %s, of one that stands alone, and of the disk of a vm', async (_, how) => {
    const alone = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const volume = cluster.volumeThere();
      return worldOf(cluster, { volumeId: volume.id, ...how }, (tx) => tx.volumes.put(volume), withoutSizes);
    };
    await checkJob(volumeResize, alone);
    const ofVm = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere(how.shrink ? 'stopped' : 'running');
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

  it.each([
    [true, false, volumeTransfer],
    [false, false, volumeTransfer],
    [true, true, volumeTransfer],
    [true, false, volumeTransferV1],
  ])('volume.transfer, with an image: %s, which it needs no more: %s', async (withImage, full, job) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const [here, there] = cluster.hosts;
      const volume = cluster.volume({ state: 'ready', hostId: here.id, withImage });
      const imageDigest = withImage ? 'sha256:base' : undefined;
      cluster.fake(0).volumes.set(volume.id, { vmId: '', sizeBytes: volume.sizeBytes, imageDigest, seed: false });
      const params = { volumeId: volume.id, toHostId: there.id, to: null, ...(full && { full }) };
      return worldOf(cluster, params, (tx) => tx.volumes.put(volume), withoutCopies);
    };
    expect((await checkJob(job, world)).runs).toBeGreaterThan(50);
  });

  it('volume.export', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      cluster.onAsked = (state, uploads) => {
        const job = state.tables.jobs.open()[0];
        if (job) uploads.received(job.id, 1);
      };
      const volume = cluster.volumeThere();
      const params = { volumeId: volume.id, format: 'raw', ticketHash: '' };
      return worldOf(cluster, params, (tx) => tx.volumes.put(volume));
    };
    await checkJob(volumeExport, world);
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

  it('volume.move of one that needs its image no more', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const pool = aPool({ name: 'fast' });
      cluster.fake(0).poolsHere.set(pool.id, 'up');
      const volume = cluster.volume({ state: 'ready', hostId: cluster.hosts[0].id, withImage: true });
      const { sizeBytes } = volume;
      cluster.fake(0).volumes.set(volume.id, { vmId: '', sizeBytes, imageDigest: 'sha256:base', seed: false });
      const put = (tx: Tx) => (tx.pools.put(pool), tx.volumes.put(volume));
      return worldOf(cluster, { volumeId: volume.id, to: pool.id, full: true }, put, withoutPools);
    };
    expect((await checkJob(volumeMove, world as never)).runs).toBeGreaterThan(50);
  });

  it.each(['running', 'stopped', 'alone'] as const)('volume.move, of a vm that is %s', async (power) => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const pool = aPool({ name: 'fast' });
      cluster.fake(0).poolsHere.set(pool.id, 'up');
      if (power === 'alone') {
        const volume = cluster.volumeThere();
        const put = (tx: Tx) => (tx.pools.put(pool), tx.volumes.put(volume));
        return worldOf(cluster, { volumeId: volume.id, to: pool.id }, put, withoutPools);
      }
      const { vm, put } = cluster.vmThere(power);
      const params = { volumeId: vm.spec.disks[0]!.volumeId, vmId: vm.id, to: pool.id };
      return worldOf(cluster, params, (tx: Tx) => (put(tx), tx.pools.put(pool)), withoutPools);
    };
    expect((await checkJob(volumeMove, world as never)).runs).toBeGreaterThan(50);
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
    const full = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { vm, put } = cluster.vmThere('stopped');
      const params = { volumeId: vm.spec.disks[0]!.volumeId, vmId: vm.id, format: 'qcow2', full: true };
      return worldOf(cluster, params, put, withoutSizes);
    };
    await checkJob(volumeRewrite, full as never);
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
