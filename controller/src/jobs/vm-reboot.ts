/**
 * Job vm.reboot: asks the guest to shut down and boot again, and waits until its host has seen it reset. One that does not obey
 * in time fails the job and runs on, or has its reset button pressed, as was asked for. Changes neither intent nor claims.
 */
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import { agentAnswers, askGuest, type AskMode } from './ask-guest.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type RemoteContext } from './engine/define.ts';
import { domainRef, getVm } from './making.ts';
import { insist } from './operate.ts';
import { hostOfVm, type VmParams } from './vm-start.ts';

export const REBOOT_THEN = ['fail', 'reset'] as const;

export interface RebootParams extends VmParams {
  readonly mode?: AskMode;
  readonly timeoutMs: number;
  readonly then?: (typeof REBOOT_THEN)[number];
}

interface Found {
  readonly find: {
    readonly hostId: HostId;
    readonly atMs: number;
    readonly agent: boolean;
    /** When its host had seen it reset by then; null: its agent is too old to see that. */
    readonly resetAtMs: number | null;
  };
}

type Remote = RemoteContext<RebootParams, Found, JobDeps>;
type How = 'by itself' | 'asked' | 'reset';

const LOOK_AGAIN_MS = 1_000;

async function reboot(c: Remote): Promise<{ how: How } | Wait> {
  const { hostId, atMs, agent, resetAtMs } = c.outs.find;
  const vm = getVm(c.tables, c.params.vmId);
  const seen = c.deps.hosts.guest(vm.id)?.lastResetAtMs ?? 0;
  if (resetAtMs !== null && seen !== 0 && seen !== resetAtMs) return { how: 'by itself' };
  const power = c.deps.hosts.vm(vm.id)?.power;
  if (power === 'stopped' || power === 'crashed') throw wentOff(vm.name, power);
  const asking = { action: 'reboot', mode: c.params.mode, agentAnswers: agent, hostId, beganAtMs: atMs } as const;
  const op = await askGuest(c, { ...asking, domain: domainRef(vm) });
  if (Wait.is(op)) return op;
  if (resetAtMs === null) return { how: 'asked' };
  const leftMs = atMs + c.params.timeoutMs - c.nowMs;
  if (leftMs > 0) return wait(Math.min(leftMs, LOOK_AGAIN_MS), 'the guest was asked to reboot');
  if (c.params.then === 'reset') return { how: 'reset' };
  throw new ClusterError(
    'DEADLINE_EXCEEDED',
    `vm ${vm.name} did not reboot within ${formatDuration(c.params.timeoutMs)}: its guest may ignore the power button. ` +
      `Look at its console, or press the reset button: berth vm reset ${vm.name}`,
  );
}

const wentOff = (name: string, power: string): ClusterError =>
  badState(`vm ${name} ${power} instead of booting again. Start it with: berth vm start ${name}`);

const WORDS = { 'by itself': 'rebooted', asked: 'was asked to reboot', reset: 'was reset: it did not reboot in time' };

/** Without undo: what a guest was told can't be untold. */
export const vmReboot = defineJob<RebootParams, JobDeps>('vm.reboot', 2)
  .local('find', {
    run({ tables, params, deps, nowMs }) {
      const vm = getVm(tables, params.vmId);
      const hostId = hostOfVm(vm);
      const sees = deps.hosts.status(hostId).facts?.capabilities.includes('guest.agent') ?? false;
      const resetAtMs = sees ? (deps.hosts.guest(vm.id)?.lastResetAtMs ?? 0) : null;
      return { hostId, atMs: nowMs, agent: agentAnswers(deps, vm.id), resetAtMs };
    },
  })
  .remote('ask', {
    host: (c) => c.outs.find.hostId,
    run: reboot,
    describe: ({ how }) => (how === 'reset' ? 'not in time' : how === 'asked' ? 'asked' : ''),
  })
  .remote('reset', {
    host: (c) => c.outs.find.hostId,
    async run(c) {
      if (c.outs.ask.how !== 'reset') return null;
      const vm = getVm(c.tables, c.params.vmId);
      const agent = c.deps.hosts.agent(c.outs.find.hostId);
      const op = await insist(c, c.opId, (id) => agent.resetDomain(id, domainRef(vm)), 'pressing the reset button');
      return Wait.is(op) ? op : null;
    },
    describe: (_, { outs }) => (outs.ask.how === 'reset' ? 'button pressed' : 'not needed'),
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { name } = getVm(tables, params.vmId);
      const message = `vm ${name} ${WORDS[outs.ask.how]} on ${tables.hosts.get(outs.find.hostId)?.name ?? outs.find.hostId}`;
      const type = outs.ask.how === 'reset' ? 'vm.reset' : 'vm.rebooted';
      tx.event({ type, severity: 'info', subjectKind: 'vm', subject: name, message, jobId });
      return null;
    },
  })
  .build();
