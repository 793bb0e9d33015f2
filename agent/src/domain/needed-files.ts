/** The files that a domain needs on this host, looked for before libvirt is asked: its own words name neither the VM nor a way out. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Disks } from '../drivers/disks.ts';
import type { DomainSpec } from './spec.ts';

type Needed = Pick<Disks, 'findVolume' | 'listImages' | 'volumePath' | 'imagePath'>;

/** Gives the image of each volume that has one. @throws BAD_STATE: a disk, the seed or an image is not there. */
export async function needFiles(
  spec: DomainSpec,
  disks: Needed,
  hostName: string,
): Promise<ReadonlyMap<string, string | undefined>> {
  const imageOf = new Map<string, string | undefined>();
  const wanted = spec.disks.map((d) => ({ id: d.volumeId, seed: false, what: `disk ${d.target}` }));
  if (spec.seedVolumeId !== undefined) wanted.push({ id: spec.seedVolumeId, seed: true, what: 'seed' });
  for (const { id, seed, what } of wanted) {
    const v = await disks.findVolume(id);
    if (v === undefined || v.seed !== seed) throw gone(spec, hostName, what, disks.volumePath(id, seed));
    if (v.vmId !== spec.vmId) throw badState(`volume ${id} belongs to ${v.vmId}, not to vm ${spec.name}`);
    imageOf.set(id, v.imageDigest);
  }
  const images = [...imageOf.values()].filter((digest) => digest !== undefined);
  const there = new Set(images.length === 0 ? [] : (await disks.listImages()).map((i) => i.digest));
  const lost = images.find((digest) => !there.has(digest));
  if (lost !== undefined) throw gone(spec, hostName, 'image', disks.imagePath(lost));
  return imageOf;
}

const gone = (spec: DomainSpec, hostName: string, what: string, path: string): Error =>
  badState(
    `vm ${spec.name} has lost its ${what}: ${path} is not on ${hostName} any more, somebody removed it there. ` +
      `Put the file back, or give the vm up: berth vm delete ${spec.name}`,
  );
