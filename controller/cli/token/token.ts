/** berth token create, list, delete: bearer tokens of the API. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { encodeLoginLine } from '@berth/shared/trust/lines.ts';
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import type { Token } from '@berth/proto/v1/token.ts';
import { OUTPUT, text, type Command } from '../core/command.ts';
import { note, print } from '../core/context.ts';
import { time } from '../core/words.ts';
import { renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { runMany } from '../job/many.ts';

const ROLES = ['viewer', 'operator', 'admin'];
const columns: Column<Token>[] = [
  { title: 'ID', cell: (t) => t.id },
  { title: 'USER', cell: (t) => t.user },
  { title: 'ROLE', cell: (t) => t.role },
  { title: 'CREATED', cell: (t) => time(t.createdAtMs) },
  { title: 'EXPIRES', cell: (t) => time(t.expiresAtMs) },
];

const tokenCreate: Command = {
  noun: 'token',
  verb: 'create',
  summary: 'make a token with which somebody can log in',
  details: 'The login line goes to standard output; give it to `berth login` on the other machine.',
  args: [{ name: 'user', description: 'who it is for', required: true }],
  flags: [
    { spec: '--role <role>', description: 'viewer, operator or admin (default viewer)', choices: ROLES },
    { spec: '--lifetime <duration>', description: 'how long it is valid (default a year)' },
  ],
  async run(ctx, [user = ''], flags) {
    const role = text(flags, 'role') ?? 'viewer';
    if (!ROLES.includes(role)) throw invalidArgument(`--role ${role}: known are ${ROLES.join(', ')}`);
    const api = await ctx.api();
    const r = await api.call(api.tokens, (c) => c.createToken, {
      user,
      role,
      lifetimeMs: BigInt(parseDuration(text(flags, 'lifetime') ?? '0s')),
    });
    const { controller, ca } = ctx.config.endpoint();
    print(ctx, encodeLoginLine({ controller, caPin: publicKeyPin(ca), token: r.secret }));
    note(ctx, `token ${r.token?.id} for ${user} (${role}). It is shown only now.`);
  },
};

const tokenList: Command = {
  noun: 'token',
  verb: 'list',
  summary: 'list tokens',
  args: [],
  flags: [OUTPUT],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const { tokens } = await api.call(api.tokens, (c) => c.listTokens, {});
    renderList(ctx, flags, { rows: tokens, columns, name: (t) => t.id, empty: 'no tokens' });
  },
};

const tokenDelete: Command = {
  noun: 'token',
  verb: 'delete',
  summary: 'end tokens at once',
  args: [{ name: 'tokens', description: 'tokens to end', required: true, many: true, kind: 'token' }],
  flags: [],
  run: (ctx, names) =>
    runMany(ctx, {
      noun: 'token',
      names,
      wait: true,
      start: async (api, token) => (await api.call(api.tokens, (c) => c.deleteToken, { token }), { jobId: '' }),
      done: async () => 'deleted',
    }),
};

export const tokenCommands: readonly Command[] = [tokenList, tokenCreate, tokenDelete];
