/** What may stand at the end of a half-typed command line. Pure: definitions and words in, candidates out. */
import type { Command, Flag, ObjectKind } from '../core/command.ts';

export interface Candidates {
  readonly words: readonly string[];
  /** Names of such objects fit too. */
  readonly kind?: ObjectKind;
}

/** The flag that stands before any noun. */
const CONTEXT = '--context';

/** @param words what follows `berth`; the last one is being typed and may be empty. */
export function candidates(
  commands: readonly Command[],
  nouns: readonly string[],
  words: readonly string[],
): Candidates {
  if (words.at(-2) === CONTEXT) return { words: [], kind: 'context' };
  if (words[0] === CONTEXT && words.length > 2) return candidates(commands, nouns, words.slice(2));
  const [first = '', second = ''] = words;
  if (words.length <= 1) return { words: [...nouns, ...commands.flatMap((c) => (c.noun ? [] : [c.verb]))] };
  const command = commands.find((c) => (c.noun ? c.noun === first && c.verb === second : c.verb === first));
  const head = command?.noun ? 2 : 1;
  if (!command || words.length <= head) return { words: commands.filter((c) => c.noun === first).map((c) => c.verb) };
  return atArgument(command, words.slice(head));
}

function atArgument(command: Command, given: readonly string[]): Candidates {
  const current = given.at(-1) ?? '';
  const before = command.flags.find((f) => takesValue(f) && names(f).includes(given.at(-2) ?? ''));
  if (before) return { words: before.choices ?? [], ...(before.kind ? { kind: before.kind } : {}) };
  if (current.startsWith('-')) return { words: command.flags.flatMap(names).filter((n) => n.startsWith('--')) };
  const position = positional(command, given.slice(0, -1)).length;
  const argument = command.args[position] ?? (command.args.at(-1)?.many ? command.args.at(-1) : undefined);
  return { words: argument?.choices ?? [], ...(argument?.kind ? { kind: argument.kind } : {}) };
}

const names = (f: Flag): string[] => f.spec.split(/[ ,]+/).filter((w) => w.startsWith('-'));
const takesValue = (f: Flag): boolean => f.spec.includes('<');

/** The words that are neither flags nor their values. */
function positional(command: Command, given: readonly string[]): string[] {
  return given.filter((word, i) => {
    const owner = command.flags.find((f) => takesValue(f) && names(f).includes(given[i - 1] ?? ''));
    return !word.startsWith('-') && owner === undefined;
  });
}
