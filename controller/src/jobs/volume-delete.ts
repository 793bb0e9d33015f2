/** Job volume.delete: a volume that stands alone goes, with all that is in it. */
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, VolumeId } from '@berth/shared/model/ids.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { insist } from './operate.ts';
import { getVolume } from './volume-create.ts';

export interface VolumeParams {
  readonly volumeId: VolumeId;
}

export const volumeDelete = defineJob<VolumeParams, JobDeps>('volume.delete', 1)
  .local('intent', {
    run({ tx, tables, params }): { readonly hostId: HostId } {
      const volume = getVolume(tables, params.volumeId);
      if (volume.hostId === undefined) throw badState(`volume ${volume.name} is on no host yet`);
      tx.volumes.put({ ...volume, state: 'deleting' });
      return { hostId: volume.hostId };
    },
    undo({ tx, tables, params }) {
      const volume = tables.volumes.get(params.volumeId);
      if (volume) tx.volumes.put({ ...volume, state: 'ready' });
    },
  })
  .pointOfNoReturn()
  .remote('remove', {
    host: (c) => c.outs.intent.hostId,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.intent.hostId);
      const op = await insist(c, c.opId, (id) => agent.removeVolume(id, c.params.volumeId), 'removing the volume');
      return Wait.is(op) ? op : null;
    },
  })
  .local('forget', {
    run({ tx, tables, params, outs, jobId }) {
      const { name } = getVolume(tables, params.volumeId);
      const host = tables.hosts.get(outs.intent.hostId)?.name ?? outs.intent.hostId;
      const message = `volume ${name} deleted from ${host}`;
      tx.event({ type: 'volume.deleted', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
      tx.volumes.delete(params.volumeId);
      return null;
    },
  })
  .build();
