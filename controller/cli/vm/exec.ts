/** berth vm exec: a program in a guest, through its agent. Output, error output and exit code are the program's. */
import type { GuestProcessEnd } from '@berth/proto/v1/guest.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { EXEC_LIMITS } from '@berth/shared/model/guest.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { list, text, yes, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { printable } from '../output/printable.ts';

/** As a shell counts a program that a signal ended. */
const BY_SIGNAL = 128;

export const vmExec: Command = {
  noun: 'vm',
  verb: 'exec',
  summary: 'run a program in a guest: berth vm exec web -- /bin/uname -a',
  details: `For administrators, where the controller's configuration says guestExec: allowed. Runs as the guest agent's user, without a
shell: for one, -- /bin/sh -c 'LINE'. What it prints comes when it has ended, at most 1 MiB each of output and error output; its exit
code is passed on, or 128 and the signal that ended it. A program that is not done in time goes on in the guest.`,
  args: [
    { name: 'vm', description: 'the VM', required: true, kind: 'vm' },
    { name: 'program', description: 'its path in the guest, and its arguments', required: true, many: true },
  ],
  repeats: true,
  flags: [
    { spec: '--timeout <duration>', description: 'how long it may take (default 60s)' },
    {
      spec: '--env <name=value>',
      description: 'a variable of its environment; may be given several times',
      many: true,
    },
    { spec: '-i, --stdin', description: 'give it what comes on standard input, at most 1 MiB' },
  ],
  async run(ctx, [vm = '', program = '', ...words], flags) {
    const timeoutMs = BigInt(parseDuration(text(flags, 'timeout') ?? '60s'));
    if (timeoutMs < 1_000n) throw invalidArgument('--timeout is at least 1s');
    const input = yes(flags, 'stdin') ? await everything(ctx) : Buffer.alloc(0);
    const request = { vm, program, arguments: words, environment: [...list(flags, 'env')], input, timeoutMs };
    const api = await ctx.api();
    const [out, err] = [shown(ctx.stdout), shown(ctx.stderr)];
    let end: GuestProcessEnd | undefined;
    for await (const { message } of api.stream(api.guests, (c) => c.execInGuest, request, ctx.signal)) {
      if (message?.$case === 'output') out(message.value);
      if (message?.$case === 'errorOutput') err(message.value);
      if (message?.$case === 'end') end = message.value;
    }
    if (end === undefined) throw new ClusterError('INTERNAL', `nobody says how ${program} ended in vm ${vm}`);
    if (end.truncated) note(ctx, `berth: it printed more than is handed on; let it write to a file in the guest`);
    ctx.fail(end.signal > 0 ? BY_SIGNAL + end.signal : end.exitCode & 0xff);
  },
};

/** What a guest prints may not drive a terminal; files and pipes get the bytes as they are. */
function shown(to: Context['stdout']): (data: Uint8Array) => void {
  const clean = to.isTTY ? printable() : (data: Uint8Array) => data;
  return (data) => void to.write(clean(data));
}

async function everything(ctx: Context): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of ctx.stdin as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > EXEC_LIMITS.inputBytes) throw invalidArgument('standard input is larger than 1 MiB');
    parts.push(Buffer.from(part));
  }
  return Buffer.concat(parts);
}
