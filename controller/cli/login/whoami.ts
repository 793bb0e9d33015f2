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

function lines(ctx: Context, { user, tokenId, tokenRole, tokenExpiresAtMs, certificateSerial }: Self): string[] {
  const most = tokenRole === 'admin' ? '' : `, at most ${tokenRole}`;
  const until = (ms: number) => formatDuration(Math.max(0, ms - ctx.clock.now()));
  const left = until(Number(tokenExpiresAtMs));
  const { controller, ca, client } = ctx.config.endpoint();
  const renews = client?.renewsAtMs;
  return fields([
    ['user', user?.name ?? ''],
    ['roles', (user && grantsWords(user)) || 'none: ask an administrator'],
    ['token', `${tokenId}${most}, ends in ${left}`],
    [
      'certificate',
      certificateSerial &&
        `${certificateSerial.slice(0, 16)}…${renews === undefined ? '' : `, renewed in ${until(renews)}`}`,
    ],
    ['controller', controller],
    ['ca pin', publicKeyPin(ca)],
  ]);
}
