/** What is said where a list is empty: that there is nothing, or nothing that the caller may see. */
import { grantsWords } from '../user/view.ts';
import type { Api } from './api.ts';
import type { Flags } from './command.ts';
import { text } from './command.ts';

/**
 * @param what of which there are none: `hosts`. @param advice how to have the first one.
 * @param rows as they came; where there are some, nothing is asked.
 */
export async function nothingWords(
  api: Api,
  { what, advice, rows, flags }: { what: string; advice: string; rows: readonly unknown[]; flags: Flags },
): Promise<string> {
  if (rows.length > 0) return '';
  const selector = text(flags, 'selector');
  const self = await api.call(api.users, (c) => c.getSelf, {}).catch(() => undefined);
  const user = self?.user;
  const which = selector === undefined ? '' : ` with labels ${selector}`;
  if (user && !user.grants.some((g) => g.selector === ''))
    return `no ${what}${which} that you may see: you are ${grantsWords(user) || 'without a role: ask an administrator'}`;
  return selector === undefined ? `no ${what} yet. ${advice}` : `no ${what}${which}`;
}
