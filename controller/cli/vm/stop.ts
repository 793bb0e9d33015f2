/** berth vm stop. */
import { parseDuration } from '@berth/shared/units/duration.ts';
import { NO_WAIT, text, yes, type Command } from '../core/command.ts';
import { runMany } from '../job/many.ts';

export const vmStop: Command = {
  noun: 'vm',
  verb: 'stop',
  summary: 'shut VMs down',
  details: `Asks the guest to shut down and waits. --force pulls the plug at once; --then-force does so when the time is over.`,
  args: [{ name: 'vms', description: 'VMs to stop', required: true, many: true, kind: 'vm' }],
  flags: [
    { spec: '--force', description: 'pull the plug' },
    { spec: '--timeout <duration>', description: 'how long the guest may take (default 60s)' },
    { spec: '--then-force', description: 'pull the plug when the guest has not stopped by then' },
    NO_WAIT,
  ],
  run: (ctx, names, flags) =>
    runMany(ctx, {
      noun: 'vm',
      names,
      wait: flags['wait'] !== false,
      start: (api, vm) =>
        api.call(api.vms, (c) => c.stopVm, {
          vm,
          force: yes(flags, 'force'),
          thenForce: yes(flags, 'thenForce'),
          timeoutMs: BigInt(parseDuration(text(flags, 'timeout') ?? '0s')),
        }),
      done: async (_api, _vm, job) => (job ? 'stopped' : 'is stopped already'),
    }),
};
