/** berth login: which controller this command line talks to, and as whom. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { fetchPinnedCa } from '@berth/shared/trust/pin.ts';
import { text, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { readText } from '../core/files.ts';
import { controllerUnreachable } from '../core/unreachable.ts';

export const login: Command = {
  verb: 'login',
  summary: 'log in to a controller',
  details: `Takes the login line that \`berth-controller init\` or \`berth token create\` made, from --token-file or standard input.
The controller's CA is checked against the pin in that line before the token is sent.`,
  args: [],
  flags: [
    { spec: '--token-file <file>', description: 'file with the login line', kind: 'file' },
    { spec: '--name <name>', description: 'name of the context (default: default)' },
  ],
  async run(ctx, _args, flags) {
    const file = text(flags, 'tokenFile');
    const line = decodeLoginLine(file === undefined ? await readLine(ctx) : readText(file));
    const ca = await fetchPinnedCa(line.controller, line.caPin).catch((e: Error) => {
      throw isClusterError(e, 'CONTROLLER_UNREACHABLE') ? controllerUnreachable(line.controller, e.message) : e;
    });
    const endpoint = { controller: line.controller, ca, token: line.token };
    const { createApi } = await import('../core/api.ts');
    const api = createApi(endpoint, () => ctx.clock.now());
    try {
      const me = await api.call(api.controller, (c) => c.getController, {});
      const name = text(flags, 'name') ?? 'default';
      const config = ctx.config.load();
      ctx.config.save({ current: name, contexts: { ...config.contexts, [name]: endpoint } });
      note(ctx, `logged in to ${line.controller} as ${me.user} (${me.role}), context ${name}`);
    } finally {
      api.close();
    }
  },
};

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
