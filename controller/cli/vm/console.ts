/** berth vm console: the guest's first serial port, both ways. Ctrl-] leaves. */
import type { ReadStream } from 'node:tty';
import { yes, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';

const LEAVE = 0x1d;

export const vmConsole: Command = {
  noun: 'vm',
  verb: 'console',
  summary: "talk to the guest's serial console (Ctrl-] leaves)",
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [{ spec: '--force', description: 'take it over from whoever has it' }],
  async run(ctx, [vm = ''], flags) {
    const api = await ctx.api();
    const stream = api.console();
    const raw = ctx.stdin.isTTY === true ? (ctx.stdin as unknown as ReadStream) : undefined;
    note(ctx, `connected to ${vm}; Ctrl-] leaves. If nothing appears, press Enter.`);
    stream.write({ message: { $case: 'open', value: { vm, force: yes(flags, 'force') } } });
    raw?.setRawMode(true);
    const typed = (d: Buffer) => {
      const leave = raw ? d.indexOf(LEAVE) : -1;
      if (leave >= 0) stream.end();
      else stream.write({ message: { $case: 'data', value: d } });
    };
    const done = () => stream.end();
    ctx.stdin.on('data', typed).once('end', done);
    ctx.signal.addEventListener('abort', () => stream.cancel(), { once: true });
    try {
      for await (const { data } of stream as AsyncIterable<{ data: Uint8Array }>) ctx.stdout.write(data);
    } catch (e) {
      if (!ctx.signal.aborted) throw api.translate(e);
    } finally {
      raw?.setRawMode(false);
      ctx.stdin.off('data', typed).off('end', done);
      ctx.stdin.pause();
    }
  },
};
