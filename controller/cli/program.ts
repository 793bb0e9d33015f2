/** From command definitions to a commander program. Usage errors exit 2 with one line; nothing here knows any noun. */
import { Command as Parser, CommanderError, InvalidArgumentError, Option } from 'commander';
import { VERSION } from '@berth/shared/version.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Command, Flag, Flags } from './core/command.ts';
import { VIRSH_WORDS } from './virsh-words.ts';

export type Run = (
  command: Command,
  args: readonly string[],
  flags: Flags,
  context: string | undefined,
) => Promise<void>;

export function buildProgram(
  commands: readonly Command[],
  nouns: Readonly<Record<string, { readonly summary: string }>>,
  run: Run,
): Parser {
  const program = parser(new Parser('berth'))
    .description('Berth: virtual machines over many KVM hosts')
    .version(VERSION)
    .option('--context <name>', 'controller to talk to (see: berth context list)')
    .addHelpText(
      'after',
      '\nStart with: berth vm list, berth host list.\nExit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unreachable, 6 permission.',
    );
  const groups = new Map(
    Object.entries(nouns).map(([name, { summary }]) => [name, parser(program.command(name)).description(summary)]),
  );
  for (const command of commands) {
    const group = inGroup(groups.get(command.noun ?? '') ?? program, command.group);
    add(group, command, (args, flags) => run(command, args, flags, program.opts()['context'] as string | undefined));
  }
  return program;
}

/** The parser of a word between noun and verb; made with the first command that has it. */
function inGroup(noun: Parser, name: string | undefined): Parser {
  if (name === undefined) return noun;
  return noun.commands.find((c) => c.name() === name) ?? parser(noun.command(name)).description(GROUPS[name] ?? name);
}

const GROUPS: Readonly<Record<string, string>> = { snapshot: 'what they were at some moment, to go back to' };

function add(group: Parser, command: Command, run: (args: readonly string[], flags: Flags) => Promise<void>): void {
  const sub = parser(group.command(command.verb)).description(command.summary);
  if (command.details) sub.addHelpText('after', `\n${command.details}`);
  for (const a of command.args) {
    const inner = a.many ? `${a.name}...` : a.name;
    sub.argument(a.required ? `<${inner}>` : `[${inner}]`, a.description);
  }
  for (const f of command.flags) sub.addOption(option(f));
  sub.action(async (...given: unknown[]) => {
    const flags = given.at(-2) as Flags;
    const args = given
      .slice(0, -2)
      .flat()
      .filter((a): a is string => typeof a === 'string');
    const twice = args.find(
      (a, i) => command.args.at(-1)?.many && !command.repeats && args.indexOf(a) !== i && i >= command.args.length - 1,
    );
    if (twice !== undefined) throw invalidArgument(`${twice} is named twice`);
    await run(args, flags);
  });
}

function option(f: Flag): Option {
  const o = new Option(f.spec, f.description);
  if (f.choices) o.choices([...f.choices]);
  if (f.many)
    o.argParser((value: string, before: string[] | undefined) => {
      if (f.choices && !f.choices.includes(value))
        throw new InvalidArgumentError(`Allowed choices are ${f.choices.join(', ')}.`);
      return [...(before ?? []), value];
    });
  return o;
}

/** Commander throws instead of exiting; its usage errors are said by main.ts, in one line. */
const parser = (p: Parser): Parser =>
  p
    .exitOverride()
    .showHelpAfterError(false)
    .configureOutput({ outputError: () => {} })
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .helpCommand(false);

/** Without what asks for help when no such command exists: help for something else would look like an answer. */
export function helpOnlyForKnown(words: readonly string[], program: Parser): readonly string[] {
  const others = words.filter((w) => w !== '--help' && w !== '-h');
  let at = program;
  for (const word of others) {
    const next = at.commands.find((c) => c.name() === word);
    if (next === undefined) return word.startsWith('-') || at.commands.length === 0 ? words : others;
    at = next;
  }
  return words;
}

export type HelpShown = 'help was wanted' | 'help was needed';

/** What commander's refusal means: an error to be said, or help that has been shown (needed: a verb was missing). */
export function usageError(e: unknown, words: readonly string[], program: Parser): Error | HelpShown {
  if (!(e instanceof CommanderError)) return e as Error;
  if (e.code === 'commander.helpDisplayed' || e.code === 'commander.version') return 'help was wanted';
  if (e.code === 'commander.help') return 'help was needed';
  const known = e.code === 'commander.unknownCommand' ? virshHint(e.message, path(words, program)) : undefined;
  if (known !== undefined) return invalidArgument(known);
  const [refusal = '', guess] = e.message.replace(/^error: /, '').split('\n');
  return invalidArgument(
    `${[refusal.replace(/\.+$/, ''), guess].filter(Boolean).join(' ')}. See: ${path(words, program)} --help`,
  );
}

/** @param at what was typed before the word: words of virsh are looked for where VMs are. */
function virshHint(message: string, at: string): string | undefined {
  const word = /unknown command '([^']+)'/.exec(message)?.[1] ?? '';
  if ((at !== 'berth' && at !== 'berth vm') || !Object.hasOwn(VIRSH_WORDS, word)) return undefined;
  return `${at} has no ${word}. What does that here: berth ${VIRSH_WORDS[word]}`;
}

/** `berth vm start`: as far as the words on the command line name commands. */
function path(words: readonly string[], program: Parser): string {
  const named = ['berth'];
  let at: Parser | undefined = program;
  for (const word of words) {
    at = at?.commands.find((c) => c.name() === word);
    if (!at) break;
    named.push(word);
  }
  return named.join(' ');
}
