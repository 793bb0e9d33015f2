/** berth vm start. */
import { manyVms } from './verb.ts';

export const vmStart = manyVms({
  verb: 'start',
  summary: 'start VMs',
  plan: () => ({
    start: (api, vm) => api.call(api.vms, (c) => c.startVm, { vm }),
    done: async (api, vm, job) => {
      const { host } = await api.call(api.vms, (c) => c.getVm, { vm });
      return job ? `started on ${host}` : `runs on ${host} already`;
    },
  }),
});
