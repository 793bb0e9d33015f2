/** The manners of verbs for many VMs: names, labels or all of them; a line of result for each. */
import { NO_WAIT, type Command, type Flag, type Flags } from '../core/command.ts';
import { runMany, type Many } from '../job/many.ts';
import { CHOICE, chosen, someVms } from './choose.ts';

export interface Verb {
  readonly verb: string;
  readonly summary: string;
  readonly details?: string;
  readonly flags?: readonly Flag[];
  /** Throws before anything is asked of anybody when the flags make no sense. */
  readonly plan: (flags: Flags) => Pick<Many, 'start' | 'done'>;
}

export const manyVms = ({ verb, summary, details, flags = [], plan }: Verb): Command => ({
  ...{ noun: 'vm', verb, summary },
  ...(details === undefined ? {} : { details }),
  args: [someVms(`VMs to ${verb}`)],
  flags: [...flags, ...CHOICE, NO_WAIT],
  async run(ctx, names, given) {
    const planned = plan(given);
    const vms = await chosen(ctx, verb, names, given);
    if (vms.length > 0) await runMany(ctx, { noun: 'vm', names: vms, wait: given['wait'] !== false, ...planned });
  },
});
