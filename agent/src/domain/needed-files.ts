/** The files that a domain needs on this host, looked for before libvirt is asked: its own words name neither the VM nor a way out. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { DomainSpec } from './spec.ts';

type Needed = Pick<Disks, 'findVolume' | 'listImages' | 'volumePath' | 'imagePath'>;

/** Gives its volumes by their ids. @throws BAD_STATE: a disk, the seed, an image or a medium is not there. */
export async function needFiles(
  spec: DomainSpec,
  disks: Needed,
  hostName: string,
): Promise<ReadonlyMap<string, VolumeSeen>> {
  const volumes = new Map<string, VolumeSeen>();
  const wanted = spec.disks.map((d) => ({ id: d.volumeId, seed: false, what: `disk ${d.target}` }));
  if (spec.seedVolumeId !== undefined) wanted.push({ id: spec.seedVolumeId, seed: true, what: 'seed' });
  for (const { id, seed, what } of wanted) {
    const v = await disks.findVolume(id);
    if (v === undefined || v.seed !== seed) throw gone(spec, hostName, what, disks.volumePath(id, seed));
    if (v.vmId !== spec.vmId) throw badState(`volume ${id} belongs to ${v.vmId}, not to vm ${spec.name}`);
    volumes.set(id, v);
  }
  await needImages(spec, [...volumes.values()], disks, hostName);
  return volumes;
}

async function needImages(
  spec: DomainSpec,
  volumes: readonly VolumeSeen[],
  disks: Needed,
  hostName: string,
): Promise<void> {
  // what is still being copied here is read through a socket meanwhile
  const images = volumes.flatMap((v) =>
    v.backingPath === undefined && v.filling !== true ? (v.imageDigest ?? []) : [],
  );
  const media = (spec.cdroms ?? []).flatMap(({ target, imageDigest }) =>
    imageDigest ? [{ target, imageDigest }] : [],
  );
  if (images.length + media.length === 0) return;
  const there = new Set((await disks.listImages()).map((i) => i.digest));
  const lost = images.find((digest) => !there.has(digest));
  if (lost !== undefined) throw gone(spec, hostName, 'image', disks.imagePath(lost));
  const empty = media.find((m) => !there.has(m.imageDigest));
  if (empty)
    throw badState(
      `vm ${spec.name} has image ${empty.imageDigest} in its drive ${empty.target}, but ${hostName} has no copy of it. ` +
        `Put it in anew, or take it out: berth vm eject ${spec.name}`,
    );
}

const gone = (spec: DomainSpec, hostName: string, what: string, path: string): Error => {
  // an image that another host has comes again by itself
  const wait = what === 'image' ? `Wait until it is copied there again (berth vm show ${spec.name}), put` : 'Put';
  return badState(
    `vm ${spec.name} has lost its ${what}: ${path} is not on ${hostName} any more, somebody removed it there. ` +
      `${wait} the file back, or give the vm up: berth vm delete ${spec.name}`,
  );
};
