/** Job snapshot.delete: a snapshot goes from its VM's disks; what they hold now, and the other snapshots, stay. */
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { known, settle } from './operate.ts';
import { findSnapshot, withoutSnapshot, withSnapshot, type SnapshotParams } from './snapshot-rows.ts';
import { hostOfVm } from './vm-start.ts';

const DEADLINE_MS = 3_600_000;

export const snapshotDelete = defineJob<SnapshotParams, JobDeps>('snapshot.delete', 1)
  .local('begin', {
    run({ tx, tables, params }) {
      const vm = getVm(tables, params.vmId);
      const s = findSnapshot(vm, params.name); // none of one that was made by hand
      if (s) tx.vms.put(withSnapshot(vm, { ...s, phase: 'deleting' }));
      const hostId = hostOfVm(vm);
      return { hostId, host: tables.hosts.get(hostId)?.name ?? hostId };
    },
    undo({ tx, tables, params }) {
      const vm = getVm(tables, params.vmId);
      const s = findSnapshot(vm, params.name);
      if (s) tx.vms.put(withSnapshot(vm, { ...s, phase: 'ready' }));
    },
    describe: (out) => out.host,
  })
  .remote('delete', {
    host: (c) => c.outs.begin.hostId,
    deadlineMs: DEADLINE_MS,
    irrevocable: true,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.begin.hostId);
      const which = { ...domainRef(getVm(c.tables, c.params.vmId)), name: c.params.name, running: false };
      const op = await settle(
        c,
        known(agent, c.opId, () => agent.snapshots.remove(c.opId, which), c.notes),
        'deleting',
      );
      return Wait.is(op) ? op : null;
    },
  })
  .pointOfNoReturn()
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      tx.vms.put(withoutSnapshot(vm, params.name));
      const message = `snapshot ${params.name} of vm ${vm.name} deleted from ${outs.begin.host}`;
      tx.event({ type: 'snapshot.deleted', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
