/** berth vm start. */
import { text, yes } from '../core/command.ts';
import { manyVms } from './verb.ts';

export const vmStart = manyVms({
  verb: 'start',
  summary: 'start VMs',
  details: `A saved VM goes on where it was.`,
  flags: [
    { spec: '--discard-saved', description: 'of a saved VM: give up what it had in memory, and boot it afresh' },
    { spec: '--boot <device>', description: 'boot from this, once', choices: ['disk', 'cdrom', 'network'] },
  ],
  plan: (flags) => ({
    start: (api, vm) =>
      api.call(api.vms, (c) => c.startVm, {
        vm,
        discardSaved: yes(flags, 'discardSaved'),
        bootOnce: text(flags, 'boot'),
      }),
    done: async (api, vm, job) => {
      const { host } = await api.call(api.vms, (c) => c.getVm, { vm });
      return job ? `started on ${host}` : `runs on ${host} already`;
    },
  }),
});
