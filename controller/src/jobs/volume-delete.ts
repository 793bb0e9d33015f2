/**
 * Job volume.delete: a volume that stands alone goes, with all that is in it. A host that does not answer owes it: it goes when that
 * is back, before it counts as up.
 */
import { badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Volume } from '@berth/shared/model/volume.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { insist } from './operate.ts';
import { getVolume } from './volume-create.ts';

export interface VolumeParams {
  readonly volumeId: VolumeId;
}

const debtOf = ({ id: target, name }: Volume, hostId: HostId): CleanupDebt => ({
  ...{ id: `${hostId}/volume/${target}`, hostId, kind: 'volume', target, vmId: undefined },
  why: `volume ${name} was deleted while the host did not answer`,
});

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
    async run(c): Promise<{ readonly left: boolean } | Wait> {
      const { hostId } = c.outs.intent;
      try {
        const agent = c.deps.hosts.agent(hostId);
        const op = await insist(c, c.opId, (id) => agent.removeVolume(id, c.params.volumeId), 'removing the volume');
        return Wait.is(op) ? op : { left: false };
      } catch (e) {
        if (!isClusterError(e, 'HOST_UNREACHABLE') || c.deps.hosts.view(hostId).reachable) throw e;
        return { left: true };
      }
    },
    describe: (out) => (out?.left === true ? 'left on a host that does not answer' : ''),
  })
  .local('forget', {
    run({ tx, tables, params, outs, jobId }) {
      const { volumeId } = params;
      const volume = tables.volumes.get(volumeId);
      const host = tables.hosts.get(outs.intent.hostId);
      // with its host, which was removed from the cluster
      if (volume === undefined || host === undefined) {
        tx.volumes.delete(volumeId);
        return null;
      }
      const { name } = volume;
      // older versions logged nothing of a removal that was done
      const left = outs.remove?.left === true;
      if (left) tx.debts.put(debtOf(volume, host.id));
      const message = left
        ? `volume ${name} forgotten; it is removed from ${host.name} when ${host.name} comes back`
        : volume.unit
          ? `volume ${name} released: unit ${volume.unit.name} keeps what is in it`
          : `volume ${name} deleted from ${host.name}`;
      tx.event({ type: 'volume.deleted', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
      tx.volumes.delete(volumeId);
      return null;
    },
  })
  .build();
