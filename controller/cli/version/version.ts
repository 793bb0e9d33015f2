/** berth version: of this command line, and of the controller when it answers. */
import { VERSION } from '@berth/shared/version.ts';
import type { Command } from '../core/command.ts';
import { note, print } from '../core/context.ts';
import { errorText } from '../core/exit.ts';

export const version: Command = {
  verb: 'version',
  summary: 'show the versions of this command line and of the controller',
  args: [],
  flags: [],
  async run(ctx) {
    print(ctx, `berth       ${VERSION}`);
    try {
      const { controller } = ctx.config.endpoint();
      const api = await ctx.api();
      const c = await api.call(api.controller, (x) => x.getController, {});
      print(ctx, `controller  ${c.version}, ${controller}, logged in as ${c.user} (${c.role})`);
    } catch (e) {
      note(ctx, `controller  ${errorText(e)}`);
    }
  },
};
