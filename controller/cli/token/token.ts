/** berth token create, list, revoke: bearer tokens of the API. */
import { chmodSync, writeFileSync } from 'node:fs';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { encodeLoginLine } from '@berth/shared/trust/lines.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { formatAge, parseDuration } from '@berth/shared/units/duration.ts';
import type { Token } from '@berth/proto/v1/token.ts';
import { OUTPUT, text, yes, type Command, type Flags } from '../core/command.ts';
import { note, print, type Context } from '../core/context.ts';
import { insistWritable } from '../core/files.ts';
import { time } from '../core/words.ts';
import { renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { runMany } from '../job/many.ts';
import { ROLES } from '../user/roles.ts';

const columns = (nowMs: number): Column<Token>[] => [
  { title: 'ID', cell: (t) => t.id },
  { title: 'USER', cell: (t) => t.user },
  { title: 'AT MOST', cell: (t) => t.role },
  { title: 'CREATED', cell: (t) => time(t.createdAtMs), spare: 1 },
  { title: 'EXPIRES', cell: (t) => (Number(t.expiresAtMs) <= nowMs ? 'expired' : time(t.expiresAtMs)) },
  { title: 'USED', cell: (t) => (t.lastUsedAtMs > 0n ? `${formatAge(nowMs - Number(t.lastUsedAtMs))} ago` : '-') },
  { title: 'FROM', cell: (t) => t.lastUsedFrom || '-', wide: true },
  { title: 'FOR', cell: (t) => t.description, prose: true },
];

const tokenCreate: Command = {
  noun: 'token',
  verb: 'create',
  summary: 'make a token with which somebody can log in',
  details: `The login line goes to standard output, or to --token-file (readable by you alone); give it to \`berth login\` on the
other machine. Without a name it is one of your own. A name that is no user yet becomes a service account, with --role.`,
  args: [{ name: 'user', description: 'whose it is', required: false, kind: 'user' }],
  flags: [
    {
      spec: '--role <role>',
      description: 'the most it may do: metrics, viewer, operator or admin',
      choices: [...ROLES],
    },
    { spec: '--lifetime <duration>', description: 'how long it is valid (default a year)' },
    { spec: '--description <text>', description: 'what it is for' },
    { spec: '--bearer', description: 'the token alone, as programs show it over HTTPS (Prometheus, curl)' },
    { spec: '--token-file <file>', description: 'write it there instead', kind: 'file' },
  ],
  async run(ctx, [name], flags) {
    const role = roleOf(flags);
    const file = text(flags, 'tokenFile');
    if (file !== undefined) insistWritable(file);
    const lifetimeMs = BigInt(parseDuration(text(flags, 'lifetime') ?? '0s'));
    const api = await ctx.api();
    const user = name ?? (await api.call(api.users, (c) => c.getSelf, {})).user?.name ?? '';
    const request = { user, role, lifetimeMs, description: text(flags, 'description') ?? '' };
    const r = await api.call(api.tokens, (c) => c.createToken, request);
    const line = yes(flags, 'bearer') ? r.secret : loginLine(ctx, r.secret);
    if (file === undefined) print(ctx, line);
    else writeSecret(file, line);
    const most = r.token?.role === 'admin' ? '' : ` (${r.token?.role})`;
    note(
      ctx,
      `token ${r.token?.id} for ${user}${most}. ${file === undefined ? 'It is shown only now.' : `It is in ${file}.`}`,
    );
  },
};

function roleOf(flags: Flags): string {
  const role = text(flags, 'role') ?? '';
  if (role === '' || ROLES.some((r) => r === role)) return role;
  throw invalidArgument(`--role ${role}: known are ${ROLES.join(', ')}`);
}

function loginLine(ctx: Context, token: string): string {
  const { controller, ca } = ctx.config.endpoint();
  return encodeLoginLine({ controller, caPin: publicKeyPin(ca), token });
}

/** A file that was there keeps its name but not its rights. */
function writeSecret(file: string, line: string): void {
  writeFileSync(file, '', { mode: 0o600 });
  chmodSync(file, 0o600);
  writeFileSync(file, `${line}\n`);
}

const tokenList: Command = {
  noun: 'token',
  verb: 'list',
  summary: 'list tokens: your own; of everybody for administrators',
  args: [],
  flags: [OUTPUT, { spec: '--user <user>', description: 'only of this user', kind: 'user' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const { tokens } = await api.call(api.tokens, (c) => c.listTokens, { user: text(flags, 'user') ?? '' });
    const nowMs = ctx.clock.now();
    renderList(ctx, flags, { rows: tokens, columns: columns(nowMs), name: (t) => t.id, empty: 'no tokens' });
  },
};

const end = (verb: string, done: string): Command => ({
  noun: 'token',
  verb,
  summary: 'end tokens at once, also where they are in use',
  args: [{ name: 'tokens', description: 'tokens to end', required: true, many: true, kind: 'token' }],
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      ...{ noun: 'token', names, wait: true },
      start: async (api, token) => (await api.call(api.tokens, (c) => c.deleteToken, { token }), { jobId: '' }),
      done: async () => done,
    }),
});

export const tokenCommands: readonly Command[] = [tokenList, tokenCreate, end('revoke', 'revoked')];
