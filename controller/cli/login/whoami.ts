/** berth whoami: as whom this command line talks to the controller, and what that may do. */
import { publicKeyPin } from '@berth/shared/trust/pin.ts';
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { Self } from '@berth/proto/v1/user.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import type { Context } from '../core/context.ts';
import { fields, renderEach } from '../output/render.ts';
import { grantsWords } from '../user/view.ts';

export const whoami: Command = {
  verb: 'whoami',
  summary: 'tell as whom you are logged in, and what you may do',
  args: [],
  flags: [OUTPUT],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names: [''],
      get: () => api.call(api.users, (c) => c.getSelf, {}),
      name: (s) => s.user?.name ?? '',
      lines: (s) => lines(ctx, s),
    });
  },
};

function lines(ctx: Context, { user, tokenId, tokenRole, tokenExpiresAtMs }: Self): string[] {
  const most = tokenRole === 'admin' ? '' : `, at most ${tokenRole}`;
  const left = formatDuration(Math.max(0, Number(tokenExpiresAtMs) - ctx.clock.now()));
  return fields([
    ['user', user?.name ?? ''],
    ['roles', (user && grantsWords(user)) || 'none: ask an administrator'],
    ['token', `${tokenId}${most}, ends in ${left}`],
    ['controller', ctx.config.endpoint().controller],
    ['ca pin', publicKeyPin(ctx.config.endpoint().ca)],
  ]);
}
