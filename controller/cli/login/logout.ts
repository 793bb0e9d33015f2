/** berth logout: ends the login of a context, and forgets it here. */
import { isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { yes, type Command } from '../core/command.ts';
import type { Api } from '../core/api.ts';
import { note } from '../core/context.ts';

export const logout: Command = {
  verb: 'logout',
  summary: 'end the login of this context, and forget it',
  details: `Ends the client certificate, and with it a login by password; a token from a login line stays valid elsewhere. A context that
has a token only ends that, unless it is of the last administrator: then use --keep-token.`,
  args: [],
  flags: [{ spec: '--keep-token', description: 'only forget it here, and end nothing' }],
  async run(ctx, _args, flags) {
    const name = ctx.config.current();
    const config = ctx.config.load();
    const endpoint = config.contexts[name ?? ''];
    if (name === undefined || endpoint === undefined) throw notFound('you are not logged in');
    if (!yes(flags, 'keepToken')) await endLogin(await ctx.api());
    const { [name]: _gone, ...contexts } = config.contexts;
    const { current, ...rest } = config;
    ctx.config.save({ ...rest, ...(current === undefined || current === name ? {} : { current }), contexts });
    note(ctx, `logged out of ${endpoint.controller}, context ${name} forgotten`);
  },
};

/** A login that is not valid any more has been ended already. */
export async function endLogin(api: Api): Promise<void> {
  try {
    const { tokenId, certificateSerial: certificate } = await api.call(api.users, (c) => c.getSelf, {});
    if (certificate) return void (await api.call(api.certificates, (c) => c.revokeCertificates, { certificate }));
    await api.call(api.tokens, (c) => c.deleteToken, { token: tokenId });
  } catch (e) {
    if (!isClusterError(e, 'UNAUTHENTICATED')) throw e;
  }
}
