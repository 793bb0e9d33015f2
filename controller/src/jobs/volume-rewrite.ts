/**
 * Jobs volume.rewrite and volume.wipe: a volume that nobody uses, in another format, without what is zero, without its image, or with all
 * that it held overwritten. A format is taken back; what is overwritten is gone.
 */
import type { KeptFormat } from '@berth/shared/model/volume.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalContext } from './engine/define.ts';
import { insist, known, settle } from './operate.ts';
import { WHOLE_DISK_MS } from './volume-steps.ts';
import { changeVolume, whereIs, type Where, type WhichVolume } from './volume-where.ts';
import { claimOf } from './world.ts';

export interface RewriteParams extends WhichVolume {
  readonly format: KeptFormat;
  /** What is in its image goes into it, and it rests on none. Absent: no. */
  readonly full?: true;
}

const begin = {
  run: ({ tables, params }: Pick<LocalContext<WhichVolume, JobDeps>, 'tables' | 'params'>) => whereIs(tables, params),
  describe: (out: Where) => out.host,
};

export const volumeRewrite = defineJob<RewriteParams, JobDeps>('volume.rewrite', 1)
  .local('begin', begin)
  .remote('rewrite', {
    host: (c) => c.outs.begin.hostId,
    deadlineMs: WHOLE_DISK_MS,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.begin.hostId);
      const { volumeId, format, full = false } = c.params;
      const { format: was, imageDigest: base } = c.outs.begin;
      const imageDigest = full || format !== 'qcow2' ? undefined : (base ?? undefined);
      const ask = () => agent.volumeData.rewrite(c.opId, { volumeId, format, imageDigest, ifOther: format !== was });
      const op = await settle(c, known(agent, c.opId, ask, c.notes), 'writing it anew');
      return Wait.is(op) ? op : null;
    },
    async undo(c) {
      const agent = c.deps.hosts.agent(c.outs.begin.hostId);
      const { format, imageDigest } = c.outs.begin;
      const was = { volumeId: c.params.volumeId, format, imageDigest: imageDigest ?? undefined, ifOther: true };
      const op = await insist(c, c.undoOpId, (id) => agent.volumeData.rewrite(id, was), 'writing it as it was');
      return Wait.is(op) ? op : undefined;
    },
    debts: () => [],
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { name, host } = outs.begin;
      changeVolume(tx, tables, params, { format: params.format, ...(params.full && { full: true }) });
      const vm = params.vmId && tables.vms.get(params.vmId);
      const claim = params.vmId && tables.claims.get(params.vmId);
      if (claim && vm) tx.claims.put({ ...claim, diskBytes: claimOf(vm, claim.hostId, claim.powered).diskBytes });
      const what = params.full ? ', with what is in its image' : '';
      const message = `volume ${name} on ${host} was written anew, as ${params.format}${what}`;
      tx.event({ type: 'volume.rewritten', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
      return null;
    },
  })
  .build();

export const volumeWipe = defineJob<WhichVolume, JobDeps>('volume.wipe', 1)
  .local('begin', begin)
  .remote('wipe', {
    host: (c) => c.outs.begin.hostId,
    deadlineMs: WHOLE_DISK_MS,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.begin.hostId);
      const ask = () => agent.volumeData.wipe(c.opId, c.params.volumeId);
      const op = await settle(c, known(agent, c.opId, ask, c.notes), 'overwriting');
      return Wait.is(op) ? op : null;
    },
  })
  .local('record', {
    run({ tx, outs, jobId }) {
      const { name, host } = outs.begin;
      const message = `all that volume ${name} on ${host} held was overwritten`;
      tx.event({ type: 'volume.wiped', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
      return null;
    },
  })
  .build();
