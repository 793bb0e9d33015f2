/**
 * Job volume.resize: another size for a volume that stands alone, or for a disk of a VM, which sees it at once when it runs. Not
 * undone: what has become larger is not cut again for a controller that wants to go back.
 */
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { known, settle } from './operate.ts';
import { claimOf } from './world.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { changeVolume, whereIs, type WhichVolume } from './volume-where.ts';

export interface ResizeParams extends WhichVolume {
  readonly sizeBytes: number;
  readonly shrink: boolean;
}

export const volumeResize = defineJob<ResizeParams, JobDeps>('volume.resize', 1)
  .local('begin', {
    run: ({ tables, params }) => whereIs(tables, params),
    describe: (out) => out.host,
  })
  .remote('resize', {
    host: (c) => c.outs.begin.hostId,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.begin.hostId);
      const { volumeId, sizeBytes, shrink } = c.params;
      const ask = () => agent.volumeData.resize(c.opId, { volumeId, sizeBytes, shrink });
      const op = await settle(c, known(agent, c.opId, ask, c.notes), 'resizing');
      return Wait.is(op) ? op : null;
    },
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { name, host, sizeBytes: before } = outs.begin;
      changeVolume(tx, tables, params, { sizeBytes: params.sizeBytes });
      const claim = params.vmId && tables.claims.get(params.vmId);
      const vm = params.vmId && tables.vms.get(params.vmId);
      if (claim && vm) tx.claims.put({ ...claim, diskBytes: claimOf(vm, claim.hostId, claim.powered).diskBytes });
      const message = `volume ${name} on ${host} has ${formatBytes(params.sizeBytes)} now (${formatBytes(before)} before)`;
      tx.event({ type: 'volume.resized', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
      return null;
    },
  })
  .build();
