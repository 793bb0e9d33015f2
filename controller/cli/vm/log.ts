/** berth vm log: what the guest wrote to its serial console. */
import { parseBytes } from '@berth/shared/units/bytes.ts';
import { text, yes, type Command } from '../core/command.ts';
import { printable } from '../output/printable.ts';

export const vmLog: Command = {
  noun: 'vm',
  verb: 'log',
  summary: 'show what the guest wrote to its serial console',
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [
    { spec: '-f, --follow', description: 'go on as more comes' },
    { spec: '--tail <size>', description: 'only the last so much (64KiB)' },
  ],
  async run(ctx, [vm = ''], flags) {
    const api = await ctx.api();
    const request = { vm, tailBytes: BigInt(parseBytes(text(flags, 'tail') ?? '0')), follow: yes(flags, 'follow') };
    const show = ctx.stdout.isTTY ? printable() : (data: Uint8Array) => data;
    for await (const { data } of api.stream(api.vms, (c) => c.readVmLog, request, ctx.signal))
      ctx.stdout.write(show(data));
  },
};
