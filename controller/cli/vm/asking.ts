/** Flags of verbs that ask guests to do something by themselves. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { parseDuration } from '@berth/shared/units/duration.ts';
import { text, type Flag, type Flags } from '../core/command.ts';

export const MODE: Flag = {
  spec: '--mode <mode>',
  description:
    'how it is asked: by its power button, or its guest agent (default: the agent if one answers, then the button)',
  choices: ['acpi', 'agent'],
};

/** 0n: the controller's choice. */
export function timeoutOf(flags: Flags, otherwise = ''): bigint {
  const given = text(flags, 'timeout');
  const ms = BigInt(parseDuration(given ?? '0s'));
  if (given !== undefined && ms === 0n) throw invalidArgument(`--timeout ${given} gives the guest no time${otherwise}`);
  return ms;
}
