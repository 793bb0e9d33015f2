/** berth vm reboot, reset, suspend, resume. */
import type { Api } from '../core/api.ts';
import { manyVms } from './verb.ts';

const hostOf = async (api: Api, vm: string): Promise<string> => (await api.call(api.vms, (c) => c.getVm, { vm })).host;

export const vmReboot = manyVms({
  verb: 'reboot',
  summary: 'ask guests to shut down and boot again',
  details: `Presses the power button; the guest obeys when it can, in the same QEMU. Of one that hangs: berth vm reset`,
  plan: () => ({
    start: (api, vm) => api.call(api.vms, (c) => c.rebootVm, { vm }),
    done: async (api, vm) => `asked to reboot on ${await hostOf(api, vm)}`,
  }),
});

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
