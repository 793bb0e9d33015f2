/**
 * Job snapshot.create: what a VM's disks and, where wanted, its memory are now is kept inside its disks. The row of the snapshot is
 * there from the beginning. Taken back, the guest runs on as it did.
 */
import { alreadyExists } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { insist, known, settle } from './operate.ts';
import { getSnapshot, withoutSnapshot, withSnapshot, type SnapshotParams } from './snapshot-rows.ts';
import { hostOfVm } from './vm-start.ts';

interface Begun {
  readonly hostId: HostId;
  readonly host: string;
  /** The guest's CPUs. */
  readonly running: boolean;
}

/** Memory of hundreds of GiB, and a slow disk. */
const DEADLINE_MS = 4 * 3_600_000;

export const snapshotCreate = defineJob<SnapshotParams, JobDeps>('snapshot.create', 1)
  .deadline(DEADLINE_MS)
  .local('begin', {
    run({ tables, params, deps }): Begun {
      const vm = getVm(tables, params.vmId);
      const hostId = hostOfVm(vm);
      const running = deps.hosts.vm(vm.id)?.power === 'running';
      return { hostId, host: tables.hosts.get(hostId)?.name ?? hostId, running };
    },
    undo({ tx, tables, params }) {
      tx.vms.put(withoutSnapshot(getVm(tables, params.vmId), params.name));
    },
    describe: (out) => out.host,
  })
  // An agent finds one of that name fine: it may have made it before. So one that somebody else made is looked for here.
  .remote('look', {
    host: (c) => c.outs.begin.hostId,
    async run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const there = await c.deps.hosts.agent(c.outs.begin.hostId).snapshots.list(domainRef(vm));
      if (there.some((s) => s.name === c.params.name))
        throw alreadyExists(`vm ${vm.name} has a snapshot ${c.params.name} already, made by hand on its host`);
      return null;
    },
  })
  .remote('snapshot', {
    host: (c) => c.outs.begin.hostId,
    async run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const { name, description, memory } = getSnapshot(vm, c.params.name);
      const { hostId, running } = c.outs.begin;
      const agent = c.deps.hosts.agent(hostId);
      const wanted = { ...domainRef(vm), name, description, memory, running };
      const ask = () => agent.snapshots.create(c.opId, wanted);
      const op = await settle(c, known(agent, c.opId, ask, c.notes), memory ? 'writing its memory' : 'taking it');
      return Wait.is(op) ? op : { how: op.detail ?? '' };
    },
    async undo(c) {
      const { hostId, running } = c.outs.begin;
      const { snapshots } = c.deps.hosts.agent(hostId);
      const which = { ...domainRef(getVm(c.tables, c.params.vmId)), name: c.params.name, running };
      const op = await insist(c, c.undoOpId, (id) => snapshots.remove(id, which), 'removing it again');
      return Wait.is(op) ? op : undefined;
    },
    // one that is there nevertheless is shown as made by hand
    debts: () => [],
    describe: (out) => out.how,
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      const s = getSnapshot(vm, params.name);
      const consistency =
        outs.snapshot.how || (s.memory ? 'memory' : outs.begin.running ? 'crash-consistent' : 'stopped');
      const memory = consistency === 'memory';
      const power = memory ? s.power : 'stopped';
      tx.vms.put(withSnapshot(vm, { ...s, phase: 'ready', consistency, memory, power }));
      const message = `snapshot ${s.name} of vm ${vm.name} made on ${outs.begin.host}${memory ? ', with its memory' : ''}`;
      tx.event({ type: 'snapshot.created', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
    undo({ tx, tables, params }) {
      const vm = getVm(tables, params.vmId);
      tx.vms.put(withSnapshot(vm, { ...getSnapshot(vm, params.name), phase: 'creating' }));
    },
  })
  .build();
