/** berth vm console: the guest's first serial port, both ways. Ctrl-] leaves. */
import { VmState } from '@berth/proto/v1/vm.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { newSecret } from '@berth/shared/runtime/random.ts';
import { yes, type Command } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { persist } from '../core/persist.ts';
import { confirm } from '../core/confirm.ts';
import { vmCustomize } from './customize.ts';
import { ConsoleSession } from './console-session.ts';
import { checkSerial } from './serial-check.ts';

export const vmConsole: Command = {
  noun: 'vm',
  verb: 'console',
  summary: "talk to the guest's serial console (Ctrl-] leaves)",
  details:
    'It comes back by itself when the agent, libvirt or the controller was away, and shows what was printed meanwhile.\n' +
    'It ends when the VM stops, and goes on when its guest reboots.',
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [
    { spec: '--force', description: 'take it over from whoever has it' },
    { spec: '--wait', description: 'stay when the VM is stopped, and go on when it starts' },
    {
      spec: '--check',
      description: 'only tell whether the guest has a login on its serial port, and how to give it one',
    },
  ],
  async run(ctx, [vm = ''], flags) {
    if (yes(flags, 'check')) return check(ctx, vm);
    const api = await ctx.api();
    const { id, name, host, state } = await api.call(api.vms, (c) => c.getVm, { vm });
    const session = new ConsoleSession(ctx, api, { id, name, session: newSecret(), force: yes(flags, 'force') });
    const wait = yes(flags, 'wait');
    const leave = ctx.stdin.isTTY ? 'Ctrl-] leaves' : 'Ctrl-C leaves';
    const hint = ctx.stdin.isTTY ? ' If nothing appears, press Enter.' : '';
    if (state === VmState.RUNNING || wait) note(ctx, `The console of ${name} on ${host}. ${leave}.${hint}`); // others are refused
    session.start();
    try {
      await stay(ctx, session, { what: name, leave, wait });
    } finally {
      session.stop();
    }
  },
};

/** On a terminal, and where the VM is off, it is also offered to put it right at once. */
async function check(ctx: Context, vm: string): Promise<void> {
  const { words, found } = await checkSerial(ctx, vm);
  print(ctx, words);
  if (found === 'login' || !ctx.stdin.isTTY) return;
  const api = await ctx.api();
  const { name, state } = await api.call(api.vms, (c) => c.getVm, { vm });
  if (state !== VmState.STOPPED && state !== VmState.CRASHED) return;
  if (!(await confirm(ctx, `${name} is off. Give its guest a login on its serial port now?`))) return;
  await vmCustomize.run(ctx, [name], { serialLogin: true });
}

interface Stay {
  readonly what: string;
  readonly leave: string;
  readonly wait: boolean;
}

const AGAIN_MS = 300;

async function stay(ctx: Context, session: ConsoleSession, o: Stay): Promise<void> {
  const off = () => note(ctx, `\n${o.what} is off. Waiting for it to start; ${o.leave}.`);
  for (;;) {
    await persist(ctx, { ...o, midLine: true, signal: session.left }, async (alive) => {
      if (o.wait) await session.untilOn(off, alive);
      await attempt(session, alive, o.wait);
    });
    if (session.left.aborted) return note(ctx, '');
    if (!o.wait) return note(ctx, `\nThe console of ${o.what} ended${session.why ? `: ${session.why}` : ''}.`);
    if (session.typedAll) return;
    await ctx.clock.sleep(AGAIN_MS, session.left).catch(() => undefined);
  }
}

/** A VM that was stopped while nobody could look: what it printed until then is shown all the same. */
async function attempt(session: ConsoleSession, alive: () => void, wait: boolean): Promise<void> {
  try {
    await session.talk(alive);
  } catch (e) {
    if (!isClusterError(e, 'BAD_STATE') || !(session.began || wait)) throw e;
    await session.rest();
  }
}
