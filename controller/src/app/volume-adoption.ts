/** Takes a volume into the inventory that a host has, that is nobody's, and that the inventory does not know: what a person names. */
import { badState, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { isId, timeOfId, type VolumeId } from '@berth/shared/model/ids.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { VolumeRecord } from '../hosts/decode.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { State } from '../state/state.ts';
import { checkName } from './names.ts';
import { volumesNamed } from './volume-names.ts';

const TIB = 1024 ** 4;
const SECTOR = 512;

interface Deps {
  readonly state: State;
  readonly hosts: Hosts;
}

/** As a volume is called that nobody has named yet. */
export const foundVolumeName = (id: string): string => `found-${id.replace(/^volume-/, '')}`;

/** @param name empty: `found-…`. */
export async function adoptVolume(deps: Deps, id: string, name: string, user: string): Promise<Volume> {
  const { state } = deps;
  const { host, record, volumeId } = find(deps, id);
  const wanted = checkName('volume', name === '' ? foundVolumeName(volumeId) : name);
  return state.update((tx) => {
    if (volumesNamed(tx, volumeId).length > 0) throw badState(`volume ${volumeId} is in the inventory by now`);
    if (volumesNamed(tx, wanted).length > 0)
      throw new ClusterError('ALREADY_EXISTS', `volume ${wanted} exists already`);
    const image = record.imageDigest === '' ? undefined : tx.images.byDigest(record.imageDigest)[0];
    if (record.imageDigest !== '' && !image)
      throw badState(
        `volume ${volumeId} is based on an image that the inventory does not know (${record.imageDigest}): adopt that first (berth host review ${host.name})`,
      );
    const { sizeBytes } = record;
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes % SECTOR !== 0 || sizeBytes > 64 * TIB)
      throw badState(`host ${host.name} says that volume ${volumeId} has ${sizeBytes} bytes: that cannot be`);
    const volume: Volume = {
      ...{ id: volumeId, name: wanted, state: 'ready', hostId: host.id, sizeBytes, format: record.format },
      ...{ imageId: image?.id, labels: {}, createdAtMs: timeOfId(volumeId) },
    };
    tx.volumes.put(volume);
    const message = `volume ${wanted} was found on ${host.name} and adopted by ${user}`;
    const about = { subjectKind: 'volume', subject: wanted, message, jobId: undefined } as const;
    tx.event({ type: 'volume.adopted', severity: 'info', ...about });
    return volume;
  });
}

function find({ state, hosts }: Deps, id: string): { host: Host; record: VolumeRecord; volumeId: VolumeId } {
  for (const host of state.tables.hosts.values()) {
    const record = hosts.has(host.id)?.volumes.get(id);
    if (record?.vmId === '' && !record.seed && isId('volume', id)) return { host, record, volumeId: id };
  }
  throw notFound(`no host has an unknown volume ${id.slice(0, 80)} that is nobody's. See: berth host review`);
}
