/** Job volume.create: a volume that stands alone, on the host that was chosen; the image below it comes there first. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Preallocation, Volume } from '@berth/shared/model/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { MakeVolume } from '../hosts/volume-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type StepContext } from './engine/define.ts';
import { imagesStep } from './images-needed.ts';
import { insist, settle, untilSeen } from './operate.ts';
import { neededBy } from './pool-image.ts';

export interface CreateVolumeParams {
  readonly volumeId: VolumeId;
  readonly hostId: HostId;
  readonly preallocation: Preallocation;
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string };
}
type Context = StepContext<CreateVolumeParams, Placed, JobDeps>;

export function getVolume(tables: Pick<Tables, 'volumes'>, id: VolumeId): Volume {
  const volume = tables.volumes.get(id);
  if (!volume) throw new ClusterError('NOT_FOUND', `volume ${id} does not exist any more`);
  return volume;
}

function wanted({ tables, params }: Context): MakeVolume {
  const { id, sizeBytes, imageId, format, poolId } = getVolume(tables, params.volumeId);
  const { preallocation, clusterBytes, lazyRefcounts } = params;
  const imageDigest = imageId && tables.images.get(imageId)?.digest;
  const how = { preallocation, clusterBytes, lazyRefcounts };
  return { volumeId: id, vmId: '', imageDigest, sizeBytes, format, ...how, ...(poolId && { poolId }) };
}

export const volumeCreate = defineJob<CreateVolumeParams, JobDeps>('volume.create', 1)
  .local('reserve', {
    run({ tables, params }) {
      getVolume(tables, params.volumeId);
      return null;
    },
    undo: ({ tx, params }) => void tx.volumes.delete(params.volumeId),
  })
  .local('place', {
    run({ tables, params: { hostId } }) {
      const host = tables.hosts.get(hostId);
      if (!host) throw new ClusterError('NOT_FOUND', `host ${hostId} does not exist any more`);
      return { hostId, host: host.name };
    },
    describe: (out) => out.host,
  })
  .local(
    'image',
    imagesStep(
      (c) => neededBy(c, getVolume(c.tables, c.params.volumeId)).images,
      (c) => neededBy(c, getVolume(c.tables, c.params.volumeId)).copies,
    ),
  )
  .remote('make', {
    host: (c) => c.outs.place.hostId,
    async run(c) {
      const { volumeData } = c.deps.hosts.agent(c.outs.place.hostId);
      const op = await settle(c, volumeData.make(c.opId, wanted(c)), 'making the volume');
      if (Wait.is(op)) return op;
      const seen = c.deps.hosts.status(c.outs.place.hostId).volumeIds.has(c.params.volumeId);
      return untilSeen(c, seen, 'making the volume');
    },
    async undo(c) {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const remove = (id: string) => agent.removeVolume(id, c.params.volumeId);
      const op = await insist(c, c.undoOpId, remove, 'removing the volume');
      return Wait.is(op) ? op : undefined;
    },
    debts: (c) => [{ kind: 'volume', target: c.params.volumeId, vmId: undefined, why: 'making a volume was undone' }],
  })
  .local('publish', {
    run({ tx, tables, params, outs, jobId }) {
      const volume = getVolume(tables, params.volumeId);
      tx.volumes.put({ ...volume, state: 'ready' });
      const message = `volume ${volume.name} created on ${outs.place.host} (${formatBytes(volume.sizeBytes)})`;
      const about = { subjectKind: 'volume', subject: volume.name, message, jobId } as const;
      tx.event({ type: 'volume.created', severity: 'info', ...about });
      return null;
    },
  })
  .build();
