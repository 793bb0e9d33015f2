/**
 * Job vm.stop: asks the guest to power off and waits until its host says that it has; pulls the plug at once with `force`, or does
 * what `then` says after `timeoutMs`. The claim on CPU and memory ends when the guest has.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import { agentAnswers, askGuest, type AskMode } from './ask-guest.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type RemoteContext } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { insist, settle, untilSeen } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

export interface StopParams extends VmParams {
  readonly force: boolean;
  readonly timeoutMs: number;
  readonly thenForce: boolean;
  readonly mode?: AskMode;
  readonly then?: (typeof STOP_THEN)[number];
}

export const STOP_THEN = ['fail', 'force', 'save'] as const;

interface Begun {
  readonly intent: { readonly hostId: HostId; readonly atMs: number; readonly agent?: boolean };
}

type Remote = RemoteContext<StopParams, Begun, JobDeps>;

/** Reports nudge the job; this is only in case one was missed. */
const LOOK_AGAIN_MS = 1000;

/** Off, by what its host reports now. A host whose list is whole and lacks it does not run it either. */
function isOff(deps: JobDeps, vm: Vm): boolean {
  const power = deps.hosts.vm(vm.id)?.power;
  if (power === undefined) return vm.hostId !== undefined && deps.hosts.view(vm.hostId).complete;
  return power === 'stopped' || power === 'crashed';
}

async function shutdown(c: Remote): Promise<{ stopped: boolean } | Wait> {
  if (c.params.force) return { stopped: false };
  const vm = getVm(c.tables, c.params.vmId);
  const { hostId, atMs, agent } = c.outs.intent;
  const asking = { action: 'shutdown', mode: c.params.mode, agentAnswers: agent ?? false } as const;
  const op = isOff(c.deps, vm)
    ? undefined
    : await askGuest(c, { ...asking, hostId, beganAtMs: atMs, domain: domainRef(vm) });
  if (Wait.is(op)) return op;
  if (isOff(c.deps, vm)) return { stopped: true };
  const leftMs = atMs + c.params.timeoutMs - c.nowMs;
  if (leftMs > 0) return wait(Math.min(leftMs, LOOK_AGAIN_MS), 'the guest was asked to shut down');
  if (c.params.thenForce || (c.params.then ?? 'fail') !== 'fail') return { stopped: false };
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
  const saves = c.params.then === 'save' && !c.params.force;
  const why = saves ? 'writing its memory to disk' : 'pulling the plug';
  const op = saves
    ? await settle(c, agent.saveDomain(c.opId, domainRef(vm)), why)
    : await insist(c, c.opId, (id) => agent.forceOffDomain(id, domainRef(vm)), why);
  if (Wait.is(op)) return op;
  return untilSeen(c, isOff(c.deps, vm), why);
}

const endOf = ({ force, then }: StopParams): string => (then === 'save' && !force ? 'saved' : 'plug pulled');

export const vmStop = defineJob<StopParams, JobDeps>('vm.stop', 1)
  .local('intent', {
    run({ tx, tables, params, nowMs, deps }) {
      const vm = getVm(tables, params.vmId);
      tx.vms.put({ ...vm, desiredPower: 'off' });
      const agent = agentAnswers(deps, vm.id);
      return { hostId: hostOfVm(vm), atMs: nowMs, wasDesired: vm.desiredPower, agent };
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
    describe: (_, { outs, params }) => (outs.shutdown.stopped ? 'not needed' : endOf(params)),
  })
  .pointOfNoReturn()
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const vm = getVm(tables, params.vmId);
      const held = tables.claims.get(vm.id);
      if (held) tx.claims.put({ ...held, powered: false });
      const message = `vm ${vm.name} stopped${outs.shutdown.stopped ? '' : ` (${endOf(params)})`}`;
      tx.event({ type: 'vm.stopped', severity: 'info', subjectKind: 'vm', subject: vm.name, message, jobId });
      return null;
    },
  })
  .build();
