/** berth vm reboot, reset, suspend, resume. */
import type { Job } from '@berth/proto/v1/job.ts';
import type { Api } from '../core/api.ts';
import { text } from '../core/command.ts';
import { MODE, timeoutOf } from './asking.ts';
import { manyVms } from './verb.ts';

const hostOf = async (api: Api, vm: string): Promise<string> => (await api.call(api.vms, (c) => c.getVm, { vm })).host;

export const vmReboot = manyVms({
  verb: 'reboot',
  summary: 'ask guests to shut down and boot again, and wait until they do',
  details: `Asks the guest agent where one answers, otherwise presses the power button; the guest boots again in the same QEMU. When
the time is over, a guest that has not obeyed runs on and the command fails; with --then reset its reset button is pressed.`,
  flags: [
    MODE,
    { spec: '--timeout <duration>', description: 'how long the guest may take (default 2m)' },
    { spec: '--then <what>', description: 'what is done when it has not rebooted by then', choices: ['fail', 'reset'] },
  ],
  plan: (flags) => {
    const [mode, then, timeoutMs] = [text(flags, 'mode'), text(flags, 'then'), timeoutOf(flags)];
    return {
      start: (api, vm) => api.call(api.vms, (c) => c.rebootVm, { vm, mode, then, timeoutMs }),
      done: async (api, vm, job) => `${rebootWords(job)} on ${await hostOf(api, vm)}`,
    };
  },
});

/** An agent from before 0.2 does not see what becomes of it. */
const rebootWords = (job: Job | undefined): string => {
  const ask = job?.steps.find((s) => s.name === 'ask')?.detail ?? '';
  return ask === 'asked' ? 'asked to reboot' : ask === 'not in time' ? 'reset' : 'rebooted';
};

export const vmReset = manyVms({
  verb: 'reset',
  summary: 'press the reset button of VMs',
  details: `The guest boots again at once, in the same QEMU, and loses what it had not written to its disks.`,
  plan: () => ({
    start: (api, vm) => api.call(api.vms, (c) => c.resetVm, { vm }),
    done: async (api, vm) => `reset on ${await hostOf(api, vm)}`,
  }),
});

export const vmSuspend = manyVms({
  verb: 'suspend',
  summary: 'stop the CPUs of VMs; their memory stays',
  details: `A suspended VM is shown as paused and takes as much memory of its host as before. It goes on with: berth vm resume`,
  plan: () => ({
    start: (api, vm) => api.call(api.vms, (c) => c.suspendVm, { vm }),
    done: async (_api, _vm, job) => (job ? 'suspended' : 'is suspended already'),
  }),
});

export const vmSave = manyVms({
  verb: 'save',
  summary: 'write the memory of VMs to disk and end them; a start goes on from there',
  details: `The file lies on the host of the VM (libvirt's managed save). Until berth vm start, a saved VM takes nothing but disk.`,
  plan: () => ({
    start: (api, vm) => api.call(api.vms, (c) => c.saveVm, { vm }),
    done: async (api, vm, job) => (job ? `saved on ${await hostOf(api, vm)}` : 'is saved already'),
  }),
});

export const vmResume = manyVms({
  verb: 'resume',
  summary: 'let suspended VMs go on',
  plan: () => ({
    start: (api, vm) => api.call(api.vms, (c) => c.resumeVm, { vm }),
    done: async (api, vm, job) => (job ? `runs again on ${await hostOf(api, vm)}` : 'runs already'),
  }),
});
