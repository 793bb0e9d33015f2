/**
 * The step that has a VM's images on its host before anything there needs them: those below its disks, and the media of its
 * CD-ROM drives. Each is copied by a keyed job that all who need it there share; one after the other.
 */
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { VmSpec } from '@berth/shared/model/vm.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { wait, Wait, type LocalContext, type LocalStep } from './engine/define.ts';
import type { LockName } from './engine/jobs.ts';
import { joinJob, leaveJoined } from './engine/start.ts';
import { getImage } from './image-digests.ts';
import { describeFetch, fetchKey, imageFetch, type FetchParams } from './image-fetch.ts';
import { copiedToPool, type PoolCopy } from './pool-image.ts';
import { imagesForClone } from './wanted.ts';

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string };
}
type Context<P> = LocalContext<P, Placed, JobDeps>;

export interface ImagesHad {
  readonly fetched: boolean;
  /** Of the last one that was copied. */
  readonly how?: string;
  readonly needed?: number;
}

/** So that none of them is deleted meanwhile, nor the pools of its disks. */
export const imageLocks = (spec: Pick<VmSpec, 'disks' | 'cdroms'>): LockName[] => [
  ...imagesForClone(spec).map((id) => `image/${id}:shared` as const),
  ...[...new Set(spec.disks.flatMap((d) => d.poolId ?? []))].map((id) => `pool/${id}:shared` as const),
];

/** What a job waited for last, if it is a copy of this image. */
export function joinedFor(c: Context<unknown>, imageId: ImageId): Context<unknown>['memo'] {
  const jobId = (c.memo as { joined?: string } | undefined)?.joined;
  const job = jobId === undefined ? undefined : c.tables.jobs.get(jobId);
  const ofThis = (job?.params as Partial<FetchParams> | undefined)?.imageId === imageId;
  return job?.kind === imageFetch.kind && ofThis ? c.memo : undefined;
}

export function had(c: Context<unknown>, imageId: ImageId, tables: Tables): ImagesHad | Wait {
  const copy = { imageId, hostId: c.outs.place.hostId };
  const memo = joinedFor(c, imageId);
  if (memo === undefined && tables.imageCopies.get(imageCopyKey(copy))) return { fetched: false };
  const { name } = getImage(tables, imageId);
  const joined = joinJob({ tx: c.tx, jobId: c.jobId, memo }, imageFetch, copy, {
    subject: name,
    locks: [`image/${imageId}:shared`],
    key: fetchKey(copy),
    user: tables.jobs.get(c.jobId)?.user ?? '',
  });
  if (Wait.is(joined)) return wait(joined.ms, `image ${name} is copied to ${c.outs.place.host}`, joined.memo);
  const fetched = c.outsOf(joined.jobId)['fetch'] as Parameters<typeof describeFetch>[0] | undefined;
  return { fetched: true, ...(fetched && { how: describeFetch(fetched) }) };
}

/**
 * @param needed of the VM; those that are there already cost nothing.
 * @param copies that must be in pools which hosts share
 */
export const imagesStep = <P>(
  needed: (c: Context<P>) => readonly ImageId[],
  copies: (c: Context<P>) => readonly PoolCopy[] = () => [],
): LocalStep<P, Placed, JobDeps, ImagesHad> => ({
  run(c) {
    const images = needed(c);
    let all: ImagesHad = { fetched: false, needed: images.length };
    for (const id of images) {
      const one = had(c, id, c.tables);
      if (Wait.is(one)) return one;
      if (one.fetched) all = { ...one, needed: images.length };
    }
    for (const copy of copies(c)) {
      const waits = copiedToPool(c, copy);
      if (waits) return waits;
    }
    return all;
  },
  undo: (c) => leaveJoined(c),
  describe: (out, { outs }) => describeHad(out, outs.place.host),
});

export function describeHad(out: ImagesHad, host: string): string {
  if (out.needed === 0) return 'not needed';
  return out.fetched ? (out.how ?? `copied to ${host}`) : `on ${host} already`;
}
