/** berth vm console: the guest's first serial port, both ways. Ctrl-] leaves. */
import type { ReadStream } from 'node:tty';
import { VmState } from '@berth/proto/v1/vm.ts';
import { yes, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import type { Api } from '../core/api.ts';

const LEAVE = 0x1d;

export const vmConsole: Command = {
  noun: 'vm',
  verb: 'console',
  summary: "talk to the guest's serial console (Ctrl-] leaves)",
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [{ spec: '--force', description: 'take it over from whoever has it' }],
  async run(ctx, [vm = ''], flags) {
    const api = await ctx.api();
    const { name, host, state } = await api.call(api.vms, (c) => c.getVm, { vm });
    const how = ctx.stdin.isTTY ? 'Ctrl-] leaves. If nothing appears, press Enter.' : 'Ctrl-C leaves.';
    if (state === VmState.RUNNING) note(ctx, `The console of ${name} on ${host}. ${how}`); // others are refused
    await talk(ctx, api, { vm, force: yes(flags, 'force') });
  },
};

async function talk(ctx: Context, api: Api, open: { vm: string; force: boolean }): Promise<void> {
  const stream = api.console();
  const terminal = ctx.stdin.isTTY === true ? (ctx.stdin as unknown as ReadStream) : undefined;
  let left = false;
  const leave = () => {
    left = true;
    stream.cancel();
  };
  const typed = (d: Buffer) => {
    const end = terminal ? d.indexOf(LEAVE) : -1;
    if (end >= 0) leave();
    else if (!left) stream.write({ message: { $case: 'data', value: d } });
  };
  const ended = () => stream.end();
  stream.write({ message: { $case: 'open', value: open } });
  terminal?.setRawMode(true);
  ctx.stdin.on('data', typed).once('end', ended);
  ctx.signal.addEventListener('abort', leave, { once: true });
  try {
    for await (const { data } of stream as AsyncIterable<{ data: Uint8Array }>) ctx.stdout.write(data);
    note(ctx, `\nThe console of ${open.vm} ended.`);
  } catch (e) {
    if (!left) throw api.translate(e);
    note(ctx, '');
  } finally {
    terminal?.setRawMode(false);
    ctx.stdin.off('data', typed).off('end', ended);
    ctx.stdin.pause();
    stream.cancel();
  }
}
