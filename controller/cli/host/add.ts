/** berth host add, and berth host token: how a machine joins. */
import { writeFileSync } from 'node:fs';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { JoinToken } from '@berth/proto/v1/host.ts';
import { LABEL, labels, text, type Command } from '../core/command.ts';
import { insistWritable } from '../core/files.ts';
import { note, print, type Context } from '../core/context.ts';

const TOKEN_FILE = {
  spec: '--token-file <file>',
  description: 'write the join token here (mode 0600), not to standard output',
  kind: 'file' as const,
};

export const hostAdd: Command = {
  noun: 'host',
  verb: 'add',
  summary: 'add a host and make its join token',
  details: `The token goes to standard output, or to --token-file; everything else to standard error. Examples:
  berth host add h1 h1.example.org | ssh root@h1.example.org berth-agent enroll
  berth host add h2 10.0.0.12:7444 --token-file h2.token`,
  args: [
    { name: 'name', description: 'name of the host', required: true },
    { name: 'address', description: 'where its agent listens: host or host:port (default port 7444)', required: true },
  ],
  flags: [LABEL, TOKEN_FILE],
  async run(ctx, [name = '', address = ''], flags) {
    const file = text(flags, 'tokenFile');
    if (file !== undefined) insistWritable(file);
    const api = await ctx.api();
    const r = await api.call(api.hosts, (c) => c.createHost, { name, address, labels: labels(flags) });
    note(ctx, `host ${name} added.`);
    give(ctx, name, r.joinToken, file);
  },
};

export const hostToken: Command = {
  noun: 'host',
  verb: 'token',
  summary: 'make a new join token for a host that has been added',
  details: `For a host whose token is lost, used or expired, and for one whose certificate is not accepted any more; older tokens of
the host end. The token goes to standard output, or to --token-file; everything else to standard error. Example:
  berth host token h1 | ssh root@h1.example.org berth-agent enroll`,
  args: [{ name: 'host', description: 'the host', required: true, kind: 'host' }],
  flags: [TOKEN_FILE],
  async run(ctx, [host = ''], flags) {
    const file = text(flags, 'tokenFile');
    if (file !== undefined) insistWritable(file);
    const api = await ctx.api();
    const r = await api.call(api.hosts, (c) => c.createJoinToken, { host });
    give(ctx, host, r.joinToken, file);
  },
};

export const hostReEnroll: Command = {
  noun: 'host',
  verb: 're-enroll',
  summary: 'make a join token for a host whose certificate ran out or was revoked',
  details: `The host stays what it is: its name, VMs, disks and jobs. Its certificates of before are revoked when it uses the token. Example:
  berth host re-enroll h1 | ssh root@h1.example.org berth-agent enroll`,
  args: [{ name: 'host', description: 'the host', required: true, kind: 'host' }],
  flags: [TOKEN_FILE],
  run: (ctx, args, flags) => hostToken.run(ctx, args, flags),
};

function give(ctx: Context, name: string, token: JoinToken | undefined, file: string | undefined): void {
  if (!token) throw new Error('BUG: the controller sent no token');
  const left = formatDuration(Number(token.expiresAtMs) - ctx.clock.now());
  if (file === undefined) print(ctx, token.token);
  else writeFileSync(file, `${token.token}\n`, { mode: 0o600 });
  note(
    ctx,
    `On ${name}, within ${left}: berth-agent enroll --token-file ${file ?? 'FILE'}   (or give the token on standard input)`,
  );
}
