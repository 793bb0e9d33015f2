/** berth vm log: what the guest wrote to its serial console. */
import { parseBytes } from '@berth/shared/units/bytes.ts';
import { text, yes, type Command } from '../core/command.ts';
import { note } from '../core/context.ts';
import { persist } from '../core/persist.ts';
import { printable } from '../output/printable.ts';

export const vmLog: Command = {
  noun: 'vm',
  verb: 'log',
  summary: 'show what the guest wrote to its serial console',
  details:
    'Its host keeps the last 8 MiB or so of it. --follow comes back by itself when the host was away, and loses nothing.',
  args: [{ name: 'vm', description: 'the VM', required: true, kind: 'vm' }],
  flags: [
    { spec: '-f, --follow', description: 'go on as more comes' },
    { spec: '--tail <size>', description: 'only the last so much (64KiB)' },
  ],
  async run(ctx, [vm = ''], flags) {
    const api = await ctx.api();
    const tailBytes = BigInt(parseBytes(text(flags, 'tail') ?? '0'));
    const follow = yes(flags, 'follow');
    const show = ctx.stdout.isTTY ? printable() : (data: Uint8Array) => data;
    let from: string | undefined;
    let worked: (() => void) | undefined;
    const read = async (alive: () => void) => {
      worked = follow ? alive : undefined;
      const request = { vm, tailBytes, follow, from };
      for await (const piece of api.stream(api.vms, (c) => c.readVmLog, request, ctx.signal)) {
        worked?.();
        worked = undefined;
        if (piece.gap) note(ctx, '[some of it is lost: the guest printed more than its host keeps]');
        ctx.stdout.write(show(piece.data));
        from = piece.position || from;
      }
    };
    await persist(ctx, { what: vm, leave: 'Ctrl-C leaves', midLine: true, signal: ctx.signal }, read);
  },
};
