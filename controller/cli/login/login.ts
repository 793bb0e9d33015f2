/** berth login: which controller this command line talks to, and as whom. */
import { ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { fetchPinnedCa } from '@berth/shared/trust/pin.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import type { Api } from '../core/api.ts';
import { obtain } from '../core/client-certificate.ts';
import { text, type Command, type Flags } from '../core/command.ts';
import type { Endpoint } from '../core/config.ts';
import { note, type Context } from '../core/context.ts';
import { readPassword } from '../core/password.ts';
import { readText } from '../core/files.ts';
import { endLogin } from './logout.ts';
import { controllerUnreachable } from '../core/unreachable.ts';

export const login: Command = {
  verb: 'login',
  summary: 'log in to a controller',
  details: `Takes the login line that \`berth-controller init\` or \`berth token create\` made, from --token-file or standard input.
With --user, asks for a password instead (or reads it from standard input); this login ends after 12 hours.
What is kept is a client certificate, whose key is made here and stays here. It stands for the token, ends with it, and renews
itself until then, if it is used at least every month: see \`berth whoami\`, \`berth cert list\`, \`berth logout\`.
The controller's CA is checked before anything secret is sent: against the pin in the login line, against --ca-pin, or
against the CA of a context that has logged in there before.`,
  args: [],
  flags: [
    { spec: '--token-file <file>', description: 'file with the login line', kind: 'file' },
    { spec: '--user <user>', description: 'log in with a password, as this user' },
    { spec: '--controller <address>', description: 'with --user: host:port (default: of the current context)' },
    { spec: '--ca-pin <pin>', description: 'with --user: the pin of its CA, as berth whoami shows it to others' },
    { spec: '--lifetime <duration>', description: 'with --user: how long to stay logged in (default 12h)' },
    { spec: '--name <name>', description: 'name of the context (default: default)' },
  ],
  async run(ctx, _args, flags) {
    const user = text(flags, 'user');
    const shown = user === undefined ? await byLine(ctx, flags) : await byPassword(ctx, flags, user);
    const endpoint = await withApi(ctx, shown, (api) => certified(api, shown));
    await withApi(ctx, endpoint, async (api) => {
      const me = await api.call(api.controller, (c) => c.getController, {});
      const name = text(flags, 'name') ?? 'default';
      const config = ctx.config.load();
      ctx.config.save({ current: name, contexts: { ...config.contexts, [name]: endpoint } });
      await endReplaced(ctx, config.contexts[name], endpoint);
      note(ctx, `logged in to ${endpoint.controller} as ${me.user} (${me.role}), context ${name}`);
    });
  },
};

/** Its key is lost with the context that it was in. */
async function endReplaced(ctx: Context, before: Endpoint | undefined, now: Endpoint): Promise<void> {
  if (before?.client !== undefined && before.controller === now.controller)
    await withApi(ctx, before, endLogin).catch(() => undefined);
}

/** An older controller has no client certificates: then the token is kept. */
async function certified(api: Api, { token, ...rest }: Endpoint): Promise<Endpoint> {
  try {
    return { ...rest, client: await obtain(api) };
  } catch (e) {
    if (token !== undefined && isClusterError(e, 'UNSUPPORTED')) return { ...rest, token };
    throw e;
  }
}

async function byLine(ctx: Context, flags: Flags): Promise<Endpoint> {
  const file = text(flags, 'tokenFile');
  const line = decodeLoginLine(file === undefined ? await readLine(ctx) : readText(file));
  return { controller: line.controller, ca: await pinned(line.controller, line.caPin), token: line.token };
}

async function byPassword(ctx: Context, flags: Flags, user: string): Promise<Endpoint> {
  const known = Object.values(ctx.config.load().contexts);
  const controller = text(flags, 'controller') ?? ctx.config.endpoint().controller;
  const pin = text(flags, 'caPin');
  if (pin !== undefined && !/^[0-9a-f]{64}$/.test(pin))
    throw invalidArgument('--ca-pin takes 64 hexadecimal digits, as berth whoami shows them');
  const ca = pin === undefined ? known.find((c) => c.controller === controller)?.ca : await pinned(controller, pin);
  if (ca === undefined)
    throw invalidArgument(
      `nothing is known of ${controller} yet: give --ca-pin, which anybody who is logged in there sees with berth whoami`,
    );
  const lifetimeMs = BigInt(parseDuration(text(flags, 'lifetime') ?? '0s'));
  const password = await readPassword(ctx, `Password of ${user}`);
  const endpoint = { controller, ca };
  const { secret } = await withApi(ctx, endpoint, (api) =>
    api.call(api.users, (c) => c.login, { user, password, lifetimeMs }),
  );
  return { ...endpoint, token: secret };
}

const pinned = (controller: string, pin: string): Promise<string> =>
  fetchPinnedCa(controller, pin).catch((e: Error) => {
    throw isClusterError(e, 'CONTROLLER_UNREACHABLE') ? controllerUnreachable(controller, e.message) : e;
  });

async function withApi<T>(ctx: Context, endpoint: Endpoint, work: (api: Api) => Promise<T>): Promise<T> {
  const { createApi } = await import('../core/api.ts');
  const api = createApi(endpoint, () => ctx.clock.now());
  try {
    return await work(api);
  } finally {
    api.close();
  }
}

async function readLine(ctx: Context): Promise<string> {
  if (ctx.stdin.isTTY) note(ctx, 'Paste the login line, then press Enter:');
  let got = '';
  for await (const chunk of ctx.stdin) {
    got += String(chunk);
    if (got.includes('\n') || got.length > 65_536) break;
  }
  if (got.trim() === '')
    throw new ClusterError('INVALID_ARGUMENT', 'no login line on standard input; give one, or --token-file FILE');
  return got.split('\n')[0] ?? '';
}
