/**
 * Job vm.stop: asks the guest to power off and waits until its host says that it has; pulls the plug at once with `force`, or
 * after `timeoutMs` with `thenForce`. The claim on CPU and memory ends when the guest has.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type RemoteContext } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { insist, settle, untilSeen } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

export interface StopParams extends VmParams {
  readonly force: boolean;
  readonly timeoutMs: number;
  readonly thenForce: boolean;
}

interface Begun {
  readonly intent: { readonly hostId: HostId; readonly atMs: number };
}

type Remote = RemoteContext<StopParams, Begun, JobDeps>;

/** Reports nudge the job; this is only in case one was missed. */
const LOOK_AGAIN_MS = 1000;
/** A guest that is still booting, or busy, misses the power button: it is pressed again this often. */
const PRESS_AGAIN_MS = 10_000;

/** Off, by what its host reports now. A host whose list is whole and lacks it does not run it either. */
function isOff(deps: JobDeps, vm: Vm): boolean {
  const power = deps.hosts.vm(vm.id)?.power;
  if (power === undefined) return vm.hostId !== undefined && deps.hosts.view(vm.hostId).complete;
  return power === 'stopped' || power === 'crashed';
}

async function shutdown(c: Remote): Promise<{ stopped: boolean } | Wait> {
  if (c.params.force) return { stopped: false };
  const vm = getVm(c.tables, c.params.vmId);
  const press = Math.floor((c.nowMs - c.outs.intent.atMs) / PRESS_AGAIN_MS);
  const opId = press <= 0 ? c.opId : `${c.opId}.${press}`;
  const op = await settle(c, c.deps.hosts.agent(c.outs.intent.hostId).shutdownDomain(opId, domainRef(vm)), 'asking');
  if (Wait.is(op)) return op;
  if (isOff(c.deps, vm)) return { stopped: true };
  const leftMs = c.outs.intent.atMs + c.params.timeoutMs - c.nowMs;
  if (leftMs > 0) return wait(Math.min(leftMs, LOOK_AGAIN_MS), 'the guest was asked to shut down');
  if (c.params.thenForce) return { stopped: false };
  throw new ClusterError(
    'DEADLINE_EXCEEDED',
    `vm ${vm.name} did not shut down within ${formatDuration(c.params.timeoutMs)}: its guest may ignore the power button. ` +
      `Look at its console, or pull the plug: berth vm stop ${vm.name} --force`,
  );
}

async function forceOff(c: Remote & { outs: { shutdown: { stopped: boolean } } }): Promise<null | Wait> {
  if (c.outs.shutdown.stopped) return null;
  const vm = getVm(c.tables, c.params.vmId);
  const agent = c.deps.hosts.agent(c.outs.intent.hostId);
  const op = await insist(c, c.opId, (id) => agent.forceOffDomain(id, domainRef(vm)), 'pulling the plug');
  if (Wait.is(op)) return op;
  return untilSeen(c, isOff(c.deps, vm), 'pulling the plug');
}

export const vmStop = defineJob<StopParams, JobDeps>('vm.stop', 1)
  .local('intent', {
    run({ tx, tables, params, nowMs }) {
      const vm = getVm(tables, params.vmId);
      tx.vms.put({ ...vm, desiredPower: 'off' });
      return { hostId: hostOfVm(vm), atMs: nowMs, wasDesired: vm.desiredPower };
    },
    undo({ tx, tables, params }, out) {
      if (out) tx.vms.put({ ...getVm(tables, params.vmId), desiredPower: out.wasDesired });
    },
  })
  // A guest that was asked cannot be un-asked: no undo. One that does not obey fails the job here and runs on.
  .remote('shutdown', {
    host: (c) => c.outs.intent.hostId,
    run: shutdown,
    describe: (out) => (out.stopped ? 'the guest shut down' : ''),
  })
  .remote('off', {
    host: (c) => c.outs.intent.hostId,
    run: forceOff,
    describe: (_, { outs }) => (outs.shutdown.stopped ? 'not needed' : 'plug pulled'),
  })
  .pointOfNoReturn()
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      const held = tables.claims.get(vm.id);
      if (held) tx.claims.put({ ...held, powered: false });
      const message = `vm ${vm.name} stopped${outs.shutdown.stopped ? '' : ' (plug pulled)'}`;
      tx.event({ type: 'vm.stopped', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
