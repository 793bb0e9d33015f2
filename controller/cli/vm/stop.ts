/** berth vm stop. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { text, yes } from '../core/command.ts';
import { manyVms } from './verb.ts';

export const vmStop = manyVms({
  verb: 'stop',
  summary: 'shut VMs down',
  details: `Asks the guest to shut down and waits. When the time is over, a guest that has not obeyed runs on and the command fails;
with --then-force its plug is pulled instead. --force pulls the plug at once.`,
  flags: [
    { spec: '--force', description: 'pull the plug' },
    { spec: '--timeout <duration>', description: 'how long the guest may take (default 60s)' },
    { spec: '--then-force', description: 'pull the plug when the guest has not stopped by then' },
  ],
  plan: (flags) => {
    const [force, thenForce, timeout] = [yes(flags, 'force'), yes(flags, 'thenForce'), text(flags, 'timeout')];
    if (force && (thenForce || timeout !== undefined))
      throw invalidArgument(
        `--force pulls the plug at once, so ${thenForce ? '--then-force' : '--timeout'} means nothing beside it`,
      );
    const timeoutMs = BigInt(parseDuration(timeout ?? '0s'));
    if (timeout !== undefined && timeoutMs === 0n)
      throw invalidArgument(`--timeout ${timeout} gives the guest no time: to pull the plug at once there is --force`);
    return {
      start: (api, vm) => api.call(api.vms, (c) => c.stopVm, { vm, force, thenForce, timeoutMs }),
      done: async (_api, _vm, job) => (job ? 'stopped' : 'is stopped already'),
    };
  },
});
