/** berth vm send-keys, nmi: what a person at the machine would do with a hand. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { KEY_NAMES, MOST_CHORDS, parseChord } from '@berth/shared/keys/keys.ts';
import type { Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { manyVms } from './verb.ts';

const COMMON = ['ctrl-alt-delete', 'ctrl-alt-f1', 'alt-sysrq-b'];

export const vmSendKeys: Command = {
  noun: 'vm',
  verb: 'send-keys',
  summary: 'type keys at the keyboard of a VM: enter f2 ctrl-alt-delete',
  details: `Keys are named as in Linux (enter, f2, leftshift, kp5; KEY_ENTER is enter). Those joined by - are held together; one word
after the other is typed. A capital letter is shift-a.`,
  args: [
    { name: 'vm', description: 'the VM', required: true, kind: 'vm' },
    {
      name: 'keys',
      description: 'keys, or keys held together',
      required: true,
      many: true,
      choices: [...COMMON, ...KEY_NAMES],
    },
  ],
  repeats: true,
  flags: [],
  async run(ctx, [vm = '', ...keys]) {
    if (keys.length > MOST_CHORDS)
      throw invalidArgument(`${keys.length} keys are too many at once: at most ${MOST_CHORDS}`);
    for (const chord of keys) parseChord(chord);
    const api = await ctx.api();
    const { name, host } = await api.call(api.vms, (c) => c.sendKeys, { vm, keys });
    print(ctx, `vm ${name} on ${host} got ${keys.length === 1 ? 'its key' : `${keys.length} keys`}`);
  },
};

export const vmNmi = manyVms({
  verb: 'nmi',
  summary: 'send VMs a non-maskable interrupt',
  details: `What the guest makes of it is up to the guest: many write a crash dump and restart.`,
  plan: () => ({
    start: async (api, vm) => (await api.call(api.vms, (c) => c.injectNmi, { vm }), { jobId: '' }),
    done: async () => 'got an NMI',
  }),
});
