/**
 * Job snapshot.revert: a VM's disks and, where the snapshot has it, its guest are as they were. Its definition stays as it is now: its
 * host gets it again after the revert, which brings that of then. A guest with memory goes on with the machine of then; that is noted
 * as what it runs with, and the difference is pending until its next start.
 */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm, VmSnapshot, VmSpec } from '@berth/shared/model/vm.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalContext } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { known, settle, untilSeen } from './operate.ts';
import { noCapacity } from './refused.ts';
import { findSnapshot, type SnapshotParams } from './snapshot-rows.ts';
import { sameMachine } from './vm-live.ts';
import { hostOfVm } from './vm-start.ts';
import { claimFor } from './vm-update.ts';
import { domainWanted } from './wanted.ts';

export interface RevertParams extends SnapshotParams {
  readonly force: boolean;
}

interface Begun {
  readonly hostId: HostId;
  readonly host: string;
  readonly wasDesired: Vm['desiredPower'];
  readonly wasPowered: boolean;
  /** What it is afterwards. */
  readonly power: VmSnapshot['power'];
}

const DEADLINE_MS = 4 * 3_600_000;

/** What its guest goes on with; undefined: as it is defined now, or it is off. */
export function liveOf({ spec }: Vm, s: VmSnapshot | undefined): VmSpec | undefined {
  if (s?.memory !== true) return undefined;
  const { cdroms: _, hardware: __, ...rest } = spec;
  const live = { ...rest, ...s.spec };
  return sameMachine(live, spec) ? undefined : live;
}

/** Without what its guest ran with before. */
function reverted(vm: Vm, s: VmSnapshot | undefined): Vm {
  const { live: _, ...rest } = vm;
  const live = liveOf(vm, s);
  return { ...rest, ...(live && { live }) };
}

/** Room as for a start, where it goes on at once. */
function begin({ tx, tables, params, deps }: LocalContext<RevertParams, object, JobDeps>): Begun {
  const vm = getVm(tables, params.vmId);
  const hostId = hostOfVm(vm);
  const s = findSnapshot(vm, params.name);
  const power = s?.power ?? 'stopped';
  const wasPowered = tables.claims.get(vm.id)?.powered ?? false;
  if (power !== 'stopped') {
    const after = reverted(vm, s);
    const refused = deps.world.whyNotThere({ ...vm, spec: after.live ?? vm.spec }, hostId);
    if (refused) throw noCapacity(vm, [refused]);
    tx.claims.put(claimFor(after, hostId, true));
  }
  tx.vms.put({ ...vm, desiredPower: power === 'stopped' ? 'off' : 'on' });
  return { hostId, host: tables.hosts.get(hostId)?.name ?? hostId, wasDesired: vm.desiredPower, wasPowered, power };
}

export const snapshotRevert = defineJob<RevertParams, JobDeps>('snapshot.revert', 1)
  .local('begin', {
    run: begin,
    undo({ tx, tables, params }, out) {
      const vm = getVm(tables, params.vmId);
      if (out === undefined) return;
      tx.vms.put({ ...vm, desiredPower: out.wasDesired });
      if (tables.claims.get(vm.id)) tx.claims.put(claimFor(vm, out.hostId, out.wasPowered));
    },
    describe: (out) => out.host,
  })
  .remote('revert', {
    host: (c) => c.outs.begin.hostId,
    deadlineMs: DEADLINE_MS,
    irrevocable: true,
    async run(c) {
      const { name, force } = c.params;
      const agent = c.deps.hosts.agent(c.outs.begin.hostId);
      const which = { ...domainRef(getVm(c.tables, c.params.vmId)), name, force };
      const ask = () => agent.snapshots.revert(c.opId, which);
      const op = await settle(c, known(agent, c.opId, ask, c.notes), 'going back');
      return Wait.is(op) ? op : null;
    },
  })
  .pointOfNoReturn()
  .remote('define', {
    host: (c) => c.outs.begin.hostId,
    async run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      const { hostId, power } = c.outs.begin;
      const op = await settle(
        c,
        c.deps.hosts.agent(hostId).ensureDomain(c.opId, domainWanted(c.tables, vm)),
        'defining',
      );
      return Wait.is(op) ? op : untilSeen(c, c.deps.hosts.vm(vm.id)?.power === power, 'defining');
    },
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { hostId, host, power } = outs.begin;
      const vm = reverted(getVm(tables, params.vmId), findSnapshot(getVm(tables, params.vmId), params.name));
      tx.vms.put(vm);
      if (tables.claims.get(vm.id)) tx.claims.put(claimFor(vm, hostId, power !== 'stopped'));
      const message = `vm ${vm.name} on ${host} is as it was in snapshot ${params.name}, and ${power}`;
      tx.event({ type: 'snapshot.reverted', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
