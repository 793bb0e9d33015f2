/** Job volume.upload against the promises of the job harness. */
import { describe, expect, it } from 'vitest';
import { newId } from '@berth/shared/model/ids.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { checkJob, type Adversary } from '../../../test/harness/job-harness.ts';
import { Wait } from './engine/define.ts';
import { withoutHalfMade, worldOf } from './testing.ts';
import { Uploads } from './uploads.ts';
import { volumeUpload, volumeUploadId } from './volume-upload.ts';

const FILE = { fileBytes: 8, allocatedBytes: 8, fileFormat: '', sizeBytes: 2 ** 30 };

const sentTo = (cluster: ClusterWorld): void => {
  let sent = false;
  cluster.onAsked = (state, uploads) => {
    const job = state.tables.jobs.open()[0];
    if (!job || job.state === 'unwinding' || sent) return;
    sent = true;
    cluster.fake(0).uploads.set(volumeUploadId(job.id), 'new-disk');
    uploads.paused(job.id);
  };
};

describe('volume.upload keeps the promises of jobs', () => {
  it('of a new volume', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { id: hostId } = cluster.hosts[0];
      const volume = cluster.volume({ state: 'creating', hostId });
      sentTo(cluster);
      const about = { volumeId: volume.id, contentId: volume.id, hostId, poolId: null, format: 'qcow2' } as const;
      return worldOf(cluster, { ...about, ...FILE }, (tx) => tx.volumes.put(volume), withoutHalfMade);
    };
    expect((await checkJob(volumeUpload, world)).runs).toBeGreaterThan(50);
  });

  it('in the place of another, which stays what it was until the new one is whole', async () => {
    const world = (adversary: Adversary) => {
      const cluster = new ClusterWorld(adversary);
      const { id: hostId } = cluster.hosts[0];
      const volume = cluster.volumeThere();
      sentTo(cluster);
      const contentId = newId('volume', 1_700_000_000_001);
      const about = { volumeId: volume.id, contentId, hostId, poolId: null, format: 'raw' } as const;
      return worldOf(cluster, { ...about, ...FILE }, (tx) => tx.volumes.put(volume), withoutHalfMade);
    };
    expect((await checkJob(volumeUpload, world)).runs).toBeGreaterThan(50);
  });
});

describe('volume.upload gives up when nobody has sent anything for an hour', () => {
  const later = async (doneBytes: number): Promise<unknown> => {
    const clock = new SimClock();
    const uploads = new Uploads(clock);
    const jobId = newId('job', 1);
    uploads.advance(jobId, doneBytes);
    await clock.advance(2 * 3_600_000);
    const place = { hostId: newId('host', 1), host: 'h1', atMs: 0 };
    const step = volumeUpload.steps.find((s) => s.name === 'receive')!;
    const about = { params: FILE, outs: { place }, deps: { uploads }, jobId, nowMs: clock.now() };
    return step.run({ ...about, progress: () => undefined } as never);
  };

  it('in the middle of the file', async () => {
    await expect(later(4)).rejects.toThrow('nobody has sent anything for an hour');
  });

  it('but not on a host that has all of it, and takes longer than that to compare it', async () => {
    expect(Wait.is(await later(FILE.fileBytes))).toBe(true);
  });
});
