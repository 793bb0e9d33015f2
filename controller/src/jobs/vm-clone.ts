/**
 * Job vm.clone: a VM whose disk is an overlay on an image, on the host that fits best. A host that lacks the image gets it
 * first, by a keyed job that all clones on that host share.
 */
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type LocalStep } from './engine/define.ts';
import { joinJob, leaveJoined } from './engine/start.ts';
import { getImage } from './image-digests.ts';
import { describeFetch, fetchKey, imageFetch } from './image-fetch.ts';
import { choose, define, publish, reserve, seed, volume, type MakeParams } from './making.ts';

export interface CloneParams extends MakeParams {
  readonly imageId: ImageId;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string };
}

const image: LocalStep<CloneParams, Placed, JobDeps, { readonly fetched: boolean; readonly how?: string }> = {
  run(c) {
    const copy = { imageId: c.params.imageId, hostId: c.outs.place.hostId };
    if (c.memo === undefined && c.tables.imageCopies.get(imageCopyKey(copy))) return { fetched: false };
    const { name } = getImage(c.tables, copy.imageId);
    const joined = joinJob(c, imageFetch, copy, {
      subject: name,
      locks: [`image/${copy.imageId}:shared`],
      key: fetchKey(copy),
      user: c.tables.jobs.get(c.jobId)?.user ?? '',
    });
    if (Wait.is(joined)) return wait(joined.ms, `image ${name} is copied to ${c.outs.place.host}`, joined.memo);
    const fetched = c.outsOf(joined.jobId)['fetch'] as Parameters<typeof describeFetch>[0] | undefined;
    return { fetched: true, ...(fetched && { how: describeFetch(fetched) }) };
  },
  undo: (c) => leaveJoined(c),
  describe: (out, { outs }) =>
    out.fetched ? (out.how ?? `copied to ${outs.place.host}`) : `on ${outs.place.host} already`,
};

export const vmClone = defineJob<CloneParams, JobDeps>('vm.clone', 1)
  .local('reserve', reserve)
  .local('place', choose)
  .local('image', image)
  .remote('volume', volume)
  .remote('seed', seed)
  .remote('define', define)
  .local('publish', publish)
  .build();
