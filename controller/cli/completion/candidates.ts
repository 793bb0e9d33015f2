/** What may stand at the end of a half-typed command line. Pure: definitions and words in, candidates out. */
import type { Command, Flag, ObjectKind } from '../core/command.ts';

export interface Candidates {
  readonly words: readonly string[];
  /** Names of such objects fit too. */
  readonly kind?: ObjectKind;
  /** Of the object with this name: snapshots are a VM's. */
  readonly of?: string;
  /** Stands before each of them: `--host=`. */
  readonly prefix?: string;
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
  const inGroup = commands.filter((c) => c.noun === first && c.group !== undefined && c.group === second);
  if (inGroup.length > 0 && words.length > 2) return atVerb(inGroup, words.slice(2));
  const command = commands.find((c) => !c.group && (c.noun ? c.noun === first && c.verb === second : c.verb === first));
  const head = command?.noun ? 2 : 1;
  const verbs = commands.filter((c) => c.noun === first).map((c) => c.group ?? c.verb);
  if (!command || words.length <= head) return { words: [...new Set(verbs)] };
  return atArgument(command, words.slice(head));
}

function atVerb(commands: readonly Command[], [verb, ...rest]: readonly string[]): Candidates {
  const command = commands.find((c) => c.verb === verb);
  if (!command || rest.length === 0) return { words: commands.map((c) => c.verb) };
  return atArgument(command, rest);
}

function atArgument(command: Command, given: readonly string[]): Candidates {
  const current = given.at(-1) ?? '';
  const behind = behindEquals(command, current);
  if (behind) return behind;
  const before = flagOf(command, given.at(-2));
  if (before) return valuesOf(before);
  if (current.startsWith('-')) return { words: command.flags.flatMap(names).filter((n) => n.startsWith('--')) };
  const said = positional(command, given.slice(0, -1));
  const position = said.length;
  const argument = command.args[position] ?? (command.args.at(-1)?.many ? command.args.at(-1) : undefined);
  const of = argument?.kind === 'snapshot' && said[0] !== undefined ? { of: said[0] } : {};
  return { ...(argument ? valuesOf(argument) : { words: [] }), ...of };
}

/** `--host=h` */
function behindEquals(command: Command, current: string): Candidates | undefined {
  const [word = ''] = /^--[^=]+(?==)/.exec(current) ?? [];
  const flag = flagOf(command, word);
  return flag && { ...valuesOf(flag), prefix: `${word}=` };
}

const valuesOf = ({ choices, kind }: Pick<Flag, 'choices' | 'kind'>): Candidates => ({
  words: choices ?? [],
  ...(kind ? { kind } : {}),
});

/** The flag of this name, if it takes a value. */
const flagOf = (command: Command, word = ''): Flag | undefined =>
  command.flags.find((f) => takesValue(f) && names(f).includes(word));
const names = (f: Flag): string[] => f.spec.split(/[ ,]+/).filter((w) => w.startsWith('-'));
const takesValue = (f: Flag): boolean => f.spec.includes('<');

/** The words that are neither flags nor their values. */
function positional(command: Command, given: readonly string[]): string[] {
  return given.filter((word, i) => !word.startsWith('-') && flagOf(command, given[i - 1]) === undefined);
}
