/**
 * Job vm.clone: a VM whose disk is an overlay on an image, on the host that fits best. A host that lacks the image gets it
 * first, by a keyed job that all clones on that host share.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isReason } from '@berth/shared/errors/reasons.ts';
import type { HostId, ImageId, JobId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import { isEnded } from '@berth/shared/model/job.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, type LocalStep, type Wait } from './engine/define.ts';
import { fetchKey, imageFetch } from './image-fetch.ts';
import { choose, define, publish, reserve, seed, volume, type MakeParams } from './making.ts';

export interface CloneParams extends MakeParams {
  readonly imageId: ImageId;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string };
}

type ImageStep = LocalStep<CloneParams, Placed, JobDeps, { readonly fetched: boolean }>;

/** The fetch nudges its waiters when it ends; this is only in case that was missed. */
const LOOK_AGAIN_MS = 30_000;

const image: ImageStep = {
  run(c) {
    const copy = { imageId: c.params.imageId, hostId: c.outs.place.hostId };
    const fetchId = (c.memo as { fetch: JobId } | undefined)?.fetch;
    if (c.tables.imageCopies.get(imageCopyKey(copy))) return { fetched: fetchId !== undefined };
    return fetchId === undefined ? join(c, copy) : stillFetching(c, fetchId);
  },
  describe: (out, { outs }) => (out.fetched ? `copied to ${outs.place.host}` : `on ${outs.place.host} already`),
};

function join(c: Parameters<ImageStep['run']>[0], copy: { imageId: ImageId; hostId: HostId }): Wait {
  const subject = c.tables.images.get(copy.imageId)?.name ?? copy.imageId;
  const fetch = c.deps.startJob(c.tx, imageFetch, copy, {
    subject,
    locks: [`image/${copy.imageId}:shared`],
    key: fetchKey(copy),
    user: c.tables.jobs.get(c.jobId)?.user ?? '',
    waiterOf: c.jobId,
  });
  return wait(LOOK_AGAIN_MS, `image ${subject} is copied to ${c.outs.place.host}`, { fetch });
}

function stillFetching(c: Parameters<ImageStep['run']>[0], fetchId: JobId): Wait {
  const fetch = c.tables.jobs.get(fetchId);
  const host = c.outs.place.host;
  if (fetch && !isEnded(fetch.state))
    return wait(LOOK_AGAIN_MS, `image ${fetch.subject} is copied to ${host}`, { fetch: fetchId });
  const { reason, message } = fetch?.error ?? { reason: 'CANCELLED', message: `job ${fetchId} ended without it` };
  throw new ClusterError(
    isReason(reason) ? reason : 'INTERNAL',
    `the image could not be copied to ${host}: ${message}`,
  );
}

export const vmClone = defineJob<CloneParams, JobDeps>('vm.clone', 1)
  .local('reserve', reserve)
  .local('place', choose)
  .local('image', image)
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();
