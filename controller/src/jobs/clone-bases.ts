/**
 * The step of a clone that has its images on its host. A linked or full clone waits for the whole image; an instant one makes
 * sure only that a job copies it there, and goes on: the VM reads what it needs from another host meanwhile.
 */
import type { HostId, ImageId, VmId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { Tx } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { wait, Wait, type LocalContext, type LocalStep } from './engine/define.ts';
import { isDying, leaveJoined, startJob } from './engine/start.ts';
import { getImage } from './image-digests.ts';
import { fetchKey, imageFetch, type FetchParams } from './image-fetch.ts';
import { holdersFor } from './image-sources.ts';
import { had, describeHad, joinedFor, type ImagesHad } from './images-needed.ts';
import { getVm } from './making.ts';
import { copiedToPool, imagesOnHost, poolCopies } from './pool-image.ts';

export const CLONE_KINDS = ['linked', 'instant', 'full'] as const;
export type CloneKind = (typeof CLONE_KINDS)[number];

interface Params {
  readonly vmId: VmId;
  /** Absent: linked where the host has the image, else instant. */
  readonly kind?: CloneKind;
}
interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string };
}
type Context = LocalContext<Params, Placed, JobDeps>;

export interface BasesHad extends ImagesHad {
  /** The VM is made while some of its images are still coming. */
  readonly instant?: boolean;
  /** Why it waited for them although it was not to. */
  readonly instead?: string;
}

/** Starts the copying of an image to a host, or lets it go on when others leave it: a VM needs it. */
export function keepFetching(tx: Tx, copy: FetchParams, user: string): void {
  const { name } = getImage(tx, copy.imageId);
  const locks = [`image/${copy.imageId}:shared` as const];
  startJob(tx, imageFetch, copy, { subject: name, locks, key: fetchKey(copy), user });
}

/** Undefined: it can be instant. Words: why not. */
function whyWhole({ params, deps, tables, outs }: Context, imageId: ImageId): string | undefined {
  if (params.kind === 'linked' || params.kind === 'full') return '';
  if (getVm(tables, params.vmId).spec.identity === 'offline') return 'its guest is changed on its disk first';
  const can = (id: HostId, name: string): boolean => deps.hosts.status(id).facts?.capabilities.includes(name) ?? false;
  const { hostId, host } = outs.place;
  if (!can(hostId, 'clone.instant')) return `the agent of ${host} is too old to start a vm before its image is there`;
  const holders = holdersFor(tables, { imageId, hostId });
  const isUp = (id: HostId): boolean => ['up', 'maintenance'].includes(deps.hosts.status(id).state);
  if (holders.some((id) => isUp(id) && can(id, 'image.hashes'))) return undefined;
  if (params.kind === 'instant' && holders.some((id) => !isUp(id))) return undefined;
  return 'no host that has the image can vouch for its parts';
}

function begun(c: Context, imageId: ImageId): Wait | undefined {
  const copy = { imageId, hostId: c.outs.place.hostId };
  const running = c.tx.jobs.byKey(fetchKey(copy));
  if (running && isDying(running))
    return wait(1_000, `waits until an earlier copy of image ${getImage(c.tables, imageId).name} has been taken back`);
  keepFetching(c.tx, copy, c.tables.jobs.get(c.jobId)?.user ?? '');
  return undefined;
}

export const bases: LocalStep<Params, Placed, JobDeps, BasesHad> = {
  run(c) {
    const { hostId } = c.outs.place;
    const { disks } = getVm(c.tables, c.params.vmId).spec;
    const images = [...new Set([...imagesOnHost(c), ...disks.flatMap((d) => d.copyOf ?? [])])];
    let all: BasesHad = { fetched: false, needed: images.length };
    for (const id of images) {
      // what lies in a pool is not read through a socket
      const using = disks.filter((d) => d.imageId === id);
      const isBase = using.length > 0 && using.every((d) => d.poolId === undefined);
      const isHere = c.tables.imageCopies.get(imageCopyKey({ imageId: id, hostId })) !== undefined;
      const why = isBase && !isHere && joinedFor(c, id) === undefined ? whyWhole(c, id) : '';
      if (why === undefined) {
        const later = begun(c, id);
        if (later) return later;
        all = { ...all, instant: true };
        continue;
      }
      const one = had(c, id, c.tables);
      if (Wait.is(one)) return one;
      if (one.fetched) all = { ...all, ...one, needed: images.length };
      if (why !== '') all = { ...all, instead: why };
    }
    for (const copy of poolCopies(c)) {
      const waits = copiedToPool(c, copy);
      if (waits) return waits;
    }
    return all;
  },
  undo: (c) => leaveJoined(c),
  describe(out, { outs, params }) {
    if (out.instant === true) return `comes to ${outs.place.host} meanwhile`;
    const why = params.kind === 'instant' && out.instead !== undefined ? `, not at once: ${out.instead}` : '';
    return `${describeHad(out, outs.place.host)}${why}`;
  },
};
