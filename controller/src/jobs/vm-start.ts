/** Job vm.start: room on its host, the domain as the spec wants it, power, and the guest seen running. */
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { Hardware } from '@berth/shared/hardware/schema.ts';
import type { HostId, VmId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalContext } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { insist, settle, untilSeen } from './operate.ts';
import { noCapacity } from './refused.ts';
import { seedTaken, withoutSeed } from './seed-taken.ts';
import { claimOf } from './world.ts';
import { domainWanted } from './wanted.ts';

export interface VmParams {
  readonly vmId: VmId;
}

export function hostOfVm(vm: Vm): HostId {
  if (vm.hostId === undefined) throw new ClusterError('BAD_STATE', `vm ${vm.name} is on no host yet`);
  return vm.hostId;
}

interface Claimed {
  readonly hostId: HostId;
  readonly host: string;
  readonly wasDesired: Vm['desiredPower'];
  readonly wasPowered: boolean;
  /** Has done its work, and goes. */
  readonly seed?: VolumeId;
}

export interface StartParams extends VmParams {
  /** What it had in memory is given up first. */
  readonly discardSaved?: boolean;
  /** Boots from this, once. */
  readonly bootOnce?: BootDevice;
}

type BootDevice = NonNullable<NonNullable<Hardware['boot']>['order']>[number];

/** The same VM, for a start that boots from elsewhere: the next one finds it other than wanted, and defines it anew. */
export function bootingFrom(vm: Vm, first: BootDevice | undefined): Vm {
  if (first === undefined) return vm;
  const { hardware } = vm.spec;
  const order = [first, ...(hardware?.boot?.order ?? ['disk' as const]).filter((d) => d !== first)];
  return { ...vm, spec: { ...vm.spec, hardware: { ...hardware, boot: { ...hardware?.boot, order } } } };
}

/** Room is checked again: a stopped VM keeps its disks, but not its memory and CPU. */
function claim(c: LocalContext<StartParams, object, JobDeps>): Claimed {
  const vm = getVm(c.tables, c.params.vmId);
  const hostId = hostOfVm(vm);
  const refused = c.deps.world.whyNotThere(vm, hostId);
  if (refused) throw noCapacity(vm, [refused]);
  // room that was only kept for this very start is free again when it fails
  const wasPowered = vm.desiredPower === 'on' && (c.tables.claims.get(vm.id)?.powered ?? false);
  c.tx.claims.put(claimOf(vm, hostId, true));
  // a saved one goes on with what it had; any other start takes what is wanted
  const goesOn = c.deps.hosts.vm(vm.id)?.reason === 'saved' && c.params.discardSaved !== true;
  const { live, ...rest } = vm;
  c.tx.vms.put({ ...rest, ...(goesOn && live && { live }), desiredPower: 'on' });
  const host = c.tables.hosts.get(hostId)?.name ?? hostId;
  const seed = goesOn ? undefined : seedTaken(vm, c.deps.hosts.vm(vm.id), c.nowMs);
  return { hostId, host, wasDesired: vm.desiredPower, wasPowered, ...(seed && { seed }) };
}

const seedDebt = (vm: Vm, hostId: HostId, target: VolumeId): CleanupDebt => ({
  ...{ id: `${vm.id}/seed`, hostId, kind: 'volume', target, vmId: vm.id },
  why: `the seed of vm ${vm.name} has done its work`,
});

export const vmStart = defineJob<StartParams, JobDeps>('vm.start', 1)
  .local('claim', {
    run: claim,
    // What had crashed shall run as before: its run policy may try again.
    undo({ tx, tables, params }, out) {
      const vm = getVm(tables, params.vmId);
      // perhaps it is gone: then the VM must not ask for it
      const left = out?.seed === undefined ? vm : withoutSeed(vm);
      tx.vms.put({ ...left, desiredPower: out?.wasDesired ?? 'off' });
      if (out?.seed) tx.debts.put(seedDebt(vm, out.hostId, out.seed));
      const held = tables.claims.get(vm.id);
      if (held) tx.claims.put({ ...held, powered: out?.wasPowered ?? false });
    },
    describe: (out) => out.host,
  })
  // The domain follows the spec whatever becomes of this job, so there is nothing to undo.
  .remote('define', {
    host: (c) => c.outs.claim.hostId,
    operations: (c) => [c.opId, `${c.opId}.seed`],
    async run(c) {
      const { hostId, seed } = c.outs.claim;
      const agent = c.deps.hosts.agent(hostId);
      const vm = getVm(c.tables, c.params.vmId);
      const wanted = domainWanted(c.tables, bootingFrom(seed ? withoutSeed(vm) : vm, c.params.bootOnce));
      const op = await settle(c, agent.ensureDomain(c.opId, wanted), 'defining');
      if (Wait.is(op) || seed === undefined) return Wait.is(op) ? op : null;
      const gone = await settle(c, agent.removeVolume(`${c.opId}.seed`, seed), 'removing its seed');
      return Wait.is(gone) ? gone : { what: 'without its seed' };
    },
    describe: (out) => out?.what ?? '',
  })
  .remote('boot', {
    host: (c) => c.outs.claim.hostId,
    operations: (c) => [`${c.opId}.discard`, c.opId],
    async run(c) {
      const vm = getVm(c.tables, c.params.vmId);
      if (c.params.discardSaved === true) {
        const agent = c.deps.hosts.agent(c.outs.claim.hostId);
        const gone = await settle(c, agent.discardSaved(`${c.opId}.discard`, domainRef(vm)), 'giving up its memory');
        if (Wait.is(gone)) return gone;
      }
      const op = await settle(
        c,
        c.deps.hosts.agent(c.outs.claim.hostId).startDomain(c.opId, domainRef(vm)),
        'starting',
      );
      if (Wait.is(op)) return op;
      return untilSeen(c, c.deps.hosts.vm(vm.id)?.power === 'running', 'starting');
    },
    async undo(c) {
      const ref = domainRef(getVm(c.tables, c.params.vmId));
      const agent = c.deps.hosts.agent(c.outs.claim.hostId);
      const op = await insist(c, c.undoOpId, (id) => agent.forceOffDomain(id, ref), 'stopping it again');
      return Wait.is(op) ? op : undefined;
    },
    // Nothing is left to remove: a guest that runs nevertheless is seen when its host is back.
    debts: () => [],
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId, nowMs }) {
      const vm = getVm(tables, params.vmId);
      const { name } = vm;
      if (outs.claim.seed) tx.vms.put(withoutSeed(vm));
      else if (vm.spec.seedVolumeId && vm.firstBootAtMs === undefined) tx.vms.put({ ...vm, firstBootAtMs: nowMs });
      const message = `vm ${name} started on ${outs.claim.host}`;
      tx.event({ type: 'vm.started', severity: 'info', subjectKind: 'vm', subject: name, message, jobId });
      return null;
    },
  })
  .build();
