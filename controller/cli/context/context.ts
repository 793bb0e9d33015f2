/** berth context list, use: the controllers that this command line knows. */
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import { OUTPUT, type Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { renderList } from '../output/render.ts';

const contextList: Command = {
  noun: 'context',
  verb: 'list',
  summary: 'list the controllers that this command line knows',
  args: [],
  flags: [OUTPUT],
  async run(ctx, _args, flags) {
    const { current, contexts } = ctx.config.load();
    const rows = Object.entries(contexts).map(([name, c]) => ({
      name,
      controller: c.controller,
      current: name === current,
    }));
    renderList(ctx, flags, {
      rows,
      columns: [
        { title: 'NAME', cell: (r) => r.name },
        { title: 'CONTROLLER', cell: (r) => r.controller },
        { title: 'CURRENT', cell: (r) => (r.current ? 'yes' : '') },
      ],
      name: (r) => r.name,
      empty: 'no contexts yet. Make one with: berth login',
    });
  },
};

const contextUse: Command = {
  noun: 'context',
  verb: 'use',
  summary: 'choose the controller to talk to',
  args: [{ name: 'name', description: 'the context', required: true, kind: 'context' }],
  flags: [],
  async run(ctx, [name = '']) {
    const config = ctx.config.load();
    if (!config.contexts[name])
      throw notFound(`no context ${name}. Known: ${Object.keys(config.contexts).join(', ') || 'none'}`);
    ctx.config.save({ ...config, current: name });
    print(ctx, `context ${name}`);
  },
};

export const contextCommands: readonly Command[] = [contextList, contextUse];
