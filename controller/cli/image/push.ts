/** berth image push: an image on many hosts, before VMs there need it. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { NO_WAIT, SELECTOR, text, yes, type Command, type Flags } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { EXIT } from '../core/exit.ts';
import { runMany } from '../job/many.ts';

export const imagePush: Command = {
  noun: 'image',
  verb: 'push',
  summary: 'copy an image to hosts before VMs there need it',
  details: `All hosts copy at the same time, and pass on what they have while they copy: the image leaves its source about once,
however many hosts there are. What has arrived stays when a host, an agent or the controller is restarted in between.

Examples:
  berth image push base h2 h3
  berth image push base --all
  berth image push base -l rack=r7`,
  args: [
    { name: 'image', description: 'image to copy', required: true, kind: 'image' },
    { name: 'hosts', description: 'hosts that shall have it', required: false, many: true, kind: 'host' },
  ],
  flags: [
    { ...SELECTOR, description: 'hosts with such labels: rack=r7,tier!=db' },
    { spec: '--all', description: 'all hosts that can be reached' },
    NO_WAIT,
  ],
  async run(ctx, [image = '', ...hosts], flags) {
    const api = await ctx.api();
    const request = { image, hosts, ...others(hosts, flags) };
    const { pushes, unreachable } = await api.call(api.push, (c) => c.pushImage, request);
    if (unreachable.length > 0)
      note(ctx, `Left out, because they can't be reached now: ${unreachable.join(', ')}. Run it again later.`);
    if (pushes.length === 0) return nobody(ctx, request.selector, unreachable.length > 0);
    await runMany(ctx, {
      noun: 'host',
      names: pushes.map((p) => p.host),
      wait: flags['wait'] !== false,
      start: async (_api, host) => ({ jobId: pushes.find((p) => p.host === host)?.jobId ?? '' }),
      done: async (_api, _host, job) =>
        job ? (job.steps.find((s) => s.name === 'fetch')?.detail ?? 'has it') : `has ${image} already`,
      advice: 'The same command goes on with the rest.',
    });
  },
};

/** Labels that nothing has are no failure, as nowhere; hosts that nobody can reach are one. */
function nobody(ctx: Context, selector: string | undefined, away: boolean): void {
  if (away) return ctx.fail(EXIT.unreachable);
  note(ctx, selector === undefined ? 'There are no hosts.' : `No host has labels like ${selector}.`);
}

/** One way to say which hosts are meant, checked before anybody is asked. */
function others(
  hosts: readonly string[],
  flags: Flags,
): { readonly selector: string | undefined; readonly all: boolean } {
  const [selector, all] = [text(flags, 'selector'), yes(flags, 'all')];
  const ways = [hosts.length > 0 && 'names', selector !== undefined && '--selector', all && '--all'].filter(Boolean);
  const help = 'See: berth image push --help';
  if (ways.length > 1) throw invalidArgument(`${ways.join(' and ')} can't be mixed: choose hosts in one way. ${help}`);
  if (ways.length === 0) throw invalidArgument(`to which hosts? Name them, or give --selector or --all. ${help}`);
  // an empty selector would mean everything, and comes of an empty variable in a script
  if (selector?.trim() === '') throw invalidArgument(`--selector is empty; for all hosts there is --all. ${help}`);
  return { selector, all };
}
