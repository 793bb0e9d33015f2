/** berth logout: ends the token of a context, and forgets it here. */
import { isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { yes, type Command } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';

export const logout: Command = {
  verb: 'logout',
  summary: 'end the token of this context, and forget it',
  details:
    "The last administrator can't log out for good: then use --keep-token, which forgets the token here and leaves it valid.",
  args: [],
  flags: [{ spec: '--keep-token', description: 'only forget it here; it stays valid elsewhere' }],
  async run(ctx, _args, flags) {
    const name = ctx.config.current();
    const config = ctx.config.load();
    const endpoint = config.contexts[name ?? ''];
    if (name === undefined || endpoint === undefined) throw notFound('you are not logged in');
    if (!yes(flags, 'keepToken')) await end(ctx);
    const { [name]: _gone, ...contexts } = config.contexts;
    const { current, ...rest } = config;
    ctx.config.save({ ...rest, ...(current === undefined || current === name ? {} : { current }), contexts });
    note(ctx, `logged out of ${endpoint.controller}, context ${name} forgotten`);
  },
};

/** A token that is not valid any more has been ended already. */
async function end(ctx: Context): Promise<void> {
  const api = await ctx.api();
  try {
    const { tokenId } = await api.call(api.users, (c) => c.getSelf, {});
    await api.call(api.tokens, (c) => c.deleteToken, { token: tokenId });
  } catch (e) {
    if (!isClusterError(e, 'UNAUTHENTICATED')) throw e;
  }
}
