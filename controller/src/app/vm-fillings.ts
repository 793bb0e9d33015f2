/** What of a VM's images is not on its host yet: how much is, where the rest comes from, and why it does not. Pure reads. */
import type { HostId, ImageId, JobId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { Vm, VmDisk } from '@berth/shared/model/vm.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { fetchKey, type FetchParams } from '../jobs/image-fetch.ts';
import type { Tables } from '../state/state.ts';

export interface DiskFilling {
  readonly imageId: ImageId;
  readonly imageName: string;
  readonly localBytes: number;
  readonly totalBytes: number;
  /** Name of a host; empty: nothing comes. */
  readonly from: string;
  /** Why nothing comes; else empty. */
  readonly waiting: string;
  readonly jobId: JobId | undefined;
}

export interface FillingSeen {
  readonly tables: Tables;
  readonly hosts: Pick<Hosts, 'operation'>;
}

/** Of one disk; undefined when the image below it is whole on the VM's host, or there is none. */
export function fillingOf(vm: Vm, disk: VmDisk, { tables, hosts }: FillingSeen): DiskFilling | undefined {
  const copy = missing(vm, disk, tables);
  if (copy === undefined) return undefined;
  const image = tables.images.get(copy.imageId);
  const job = tables.jobs.byKey(fetchKey(copy));
  const op = job && hosts.operation(`${job.id}.fetch`);
  const from = sourceIn(job);
  return {
    ...{ imageId: copy.imageId, imageName: image?.name ?? 'its image', jobId: job?.id },
    localBytes: op?.doneBytes ?? 0,
    totalBytes: op?.totalBytes || (image?.virtualSizeBytes ?? 0),
    from,
    waiting: from === '' ? waitingFor(job) : '',
  };
}

function missing(vm: Vm, { imageId, poolId }: VmDisk, tables: Tables): FetchParams | undefined {
  const { hostId } = vm;
  if (imageId === undefined || poolId !== undefined || hostId === undefined || vm.phase !== 'ready') return undefined;
  return tables.imageCopies.get(imageCopyKey({ imageId, hostId })) ? undefined : { imageId, hostId };
}

export const fillingsOf = (vm: Vm, seen: FillingSeen): readonly (DiskFilling | undefined)[] =>
  vm.spec.disks.map((d) => fillingOf(vm, d, seen));

/** What reads this image on this host, which has not all of it: `vm web`, or, detached since, `volume web-vda`. */
export function restOn(tables: Tables, imageId: ImageId, hostId: HostId): readonly string[] {
  if (tables.imageCopies.get(imageCopyKey({ imageId, hostId }))) return [];
  const vms = tables.vms
    .byImage(imageId)
    .filter(
      (vm) =>
        vm.hostId === hostId &&
        vm.phase === 'ready' &&
        vm.spec.disks.some((d) => d.imageId === imageId && d.poolId === undefined),
    );
  const alone = tables.volumes
    .byImage(imageId)
    .filter((v) => v.hostId === hostId && v.state === 'ready' && v.poolId === undefined);
  return [...vms.map((vm) => `vm ${vm.name}`), ...alone.map((v) => `volume ${v.name}`)];
}

/** The job's own words, `copying image base from h1 to h2`. */
const sourceIn = (job: Job | undefined): string => / from (\S+) to /.exec(job?.waitReason ?? '')?.[1] ?? '';

const waitingFor = (job: Job | undefined): string =>
  job === undefined ? 'nobody copies it now' : (job.waitReason ?? 'it has not begun');
