/** berth vm stop. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Job } from '@berth/proto/v1/job.ts';
import { text, yes } from '../core/command.ts';
import { MODE, timeoutOf } from './asking.ts';
import { manyVms } from './verb.ts';

const stopWords = (job: Job): string =>
  job.steps.some((s) => s.name === 'off' && s.detail === 'saved') ? 'saved' : 'stopped';

export const vmStop = manyVms({
  verb: 'stop',
  summary: 'shut VMs down',
  details: `Asks the guest to shut down and waits: its guest agent where one answers, otherwise by the power button. When the time
is over, a guest that has not obeyed runs on and the command fails; with --then force its plug is pulled instead, with --then save
its memory is written to disk. --force pulls the plug at once.`,
  flags: [
    { spec: '--force', description: 'pull the plug' },
    { spec: '--timeout <duration>', description: 'how long the guest may take (default 60s)' },
    MODE,
    {
      spec: '--then <what>',
      description: 'what is done when the guest has not stopped by then',
      choices: ['fail', 'force', 'save'],
    },
    { spec: '--then-force', description: 'as --then force' },
  ],
  plan: (flags) => {
    const [force, thenForce, timeout] = [yes(flags, 'force'), yes(flags, 'thenForce'), text(flags, 'timeout')];
    const [mode, then] = [text(flags, 'mode'), text(flags, 'then')];
    const beside = [
      ...(thenForce ? ['--then-force'] : []),
      ...(then === undefined ? [] : ['--then']),
      ...(mode === undefined ? [] : ['--mode']),
      ...(timeout === undefined ? [] : ['--timeout']),
    ][0];
    if (force && beside) throw invalidArgument(`--force pulls the plug at once, so ${beside} means nothing beside it`);
    if (thenForce && then !== undefined && then !== 'force')
      throw invalidArgument(`--then-force and --then ${then} contradict each other`);
    const timeoutMs = timeoutOf(flags, ': to pull the plug at once there is --force');
    return {
      start: (api, vm) => api.call(api.vms, (c) => c.stopVm, { vm, force, thenForce, timeoutMs, mode, then }),
      done: async (_api, _vm, job) => (job ? stopWords(job) : 'is stopped already'),
    };
  },
});
