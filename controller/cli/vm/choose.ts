/** Which VMs a verb is for: those that are named, those with such labels (--selector), or all that the caller sees (--all). */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { SELECTOR, text, yes, type Argument, type Flag, type Flags } from '../core/command.ts';
import { note, type Context } from '../core/context.ts';
import { allPages } from '../core/pages.ts';

const ALL: Flag = { spec: '--all', description: 'all VMs' };
export const BY_LABELS: Flag = { ...SELECTOR, description: 'those with such labels: team=a,tier!=db,zone' };
/** Of verbs that are for many. */
export const CHOICE: readonly Flag[] = [BY_LABELS, ALL];

/** @param what "VMs to start" */
export const someVms = (what: string): Argument => ({
  ...{ name: 'vms', description: what, required: false, many: true, kind: 'vm' },
});

/** The way to say it is checked before anybody is asked. Empty, when nothing matches: that has been said. */
export async function chosen(
  ctx: Context,
  verb: string,
  names: readonly string[],
  flags: Flags,
): Promise<readonly string[]> {
  const [selector, all] = [text(flags, 'selector'), yes(flags, 'all')];
  const ways = [names.length > 0 && 'names', selector !== undefined && '--selector', all && '--all'].filter(Boolean);
  const help = `See: berth vm ${verb} --help`;
  if (ways.length > 1) throw invalidArgument(`${ways.join(' and ')} can't be mixed: choose VMs in one way. ${help}`);
  if (ways.length === 0) throw invalidArgument(`which VMs? Name them, or choose them by their labels (-l). ${help}`);
  // an empty selector would mean everything, and comes of an empty variable in a script
  if (selector?.trim() === '') throw invalidArgument(`--selector is empty; for all VMs there is --all. ${help}`);
  if (names.length > 0) return names;
  const api = await ctx.api();
  const vms = await allPages(async (page) => {
    const r = await api.call(api.vms, (c) => c.listVms, { page, host: '', selector });
    return { items: r.vms, next: r.nextPageToken };
  });
  if (vms.length === 0) note(ctx, selector === undefined ? 'There are no VMs.' : `No VM has labels like ${selector}.`);
  return vms.map((v) => v.name);
}
