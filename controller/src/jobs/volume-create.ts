/** Job volume.create: a volume that stands alone, on the host that was chosen; the image below it comes there first. */
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Preallocation, Volume, VolumeFormat } from '@berth/shared/model/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { MakeVolume } from '../hosts/volume-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type StepContext } from './engine/define.ts';
import { insist, settle, untilSeen } from './operate.ts';
import { imageStep } from './volume-steps.ts';

export interface CreateVolumeParams {
  readonly volumeId: VolumeId;
  readonly hostId: HostId;
  readonly preallocation: Preallocation;
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
}

/** @throws BAD_STATE for a format that no VM runs with */
export function runnable({ name, format }: Pick<Volume, 'name' | 'format'>): VolumeFormat {
  if (format === 'qcow2' || format === 'raw') return format;
  throw badState(
    `volume ${name} is kept as ${format}, which no vm runs with. Convert it first: berth volume convert ${name} --to qcow2`,
  );
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
  const volume = getVolume(tables, params.volumeId);
  const { id, sizeBytes, imageId, poolId, unit } = volume;
  const format = runnable(volume);
  const { preallocation, clusterBytes, lazyRefcounts } = params;
  const imageDigest = imageId && tables.images.get(imageId)?.digest;
  const how = { preallocation, clusterBytes, lazyRefcounts };
  return { volumeId: id, vmId: '', imageDigest, sizeBytes, format, ...how, ...(poolId && { poolId }), ...ofUnit(unit) };
}

const ofUnit = (u: Volume['unit']) => u && { unit: u.name, unitKey: u.key };

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
    imageStep<CreateVolumeParams>(({ tables, params }) => getVolume(tables, params.volumeId)),
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
      const how = volume.unit ? `is unit ${volume.unit.name} now, on` : 'created on';
      const message = `volume ${volume.name} ${how} ${outs.place.host} (${formatBytes(volume.sizeBytes)})`;
      const about = { subjectKind: 'volume', subject: volume.name, message, jobId } as const;
      tx.event({ type: 'volume.created', severity: 'info', ...about });
      return null;
    },
  })
  .build();
