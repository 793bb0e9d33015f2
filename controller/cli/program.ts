/** From command definitions to a commander program. Usage errors exit 2 with one line; nothing here knows any noun. */
import { Command as Parser, CommanderError, Option } from 'commander';
import { VERSION } from '@berth/shared/version.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Command, Flag, Flags } from './core/command.ts';

export type Run = (
  command: Command,
  args: readonly string[],
  flags: Flags,
  context: string | undefined,
) => Promise<void>;

export function buildProgram(commands: readonly Command[], nouns: Readonly<Record<string, string>>, run: Run): Parser {
  const program = parser(new Parser('berth'))
    .description('Berth: virtual machines over many KVM hosts')
    .version(VERSION)
    .option('--context <name>', 'controller to talk to (see: berth context list)')
    .addHelpText(
      'after',
      '\nStart with: berth vm list, berth host list.  Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unreachable, 6 permission.',
    );
  const groups = new Map<string, Parser>();
  for (const command of commands) {
    const group = command.noun === undefined ? program : groupOf(program, groups, command.noun, nouns);
    add(group, command, (args, flags) => run(command, args, flags, program.opts()['context'] as string | undefined));
  }
  return program;
}

function groupOf(
  program: Parser,
  groups: Map<string, Parser>,
  noun: string,
  nouns: Readonly<Record<string, string>>,
): Parser {
  const known = groups.get(noun);
  if (known) return known;
  const group = parser(program.command(noun)).description(nouns[noun] ?? noun);
  groups.set(noun, group);
  return group;
}

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
      (a, i) => command.args.at(-1)?.many && args.indexOf(a) !== i && i >= command.args.length - 1,
    );
    if (twice !== undefined) throw invalidArgument(`${twice} is named twice`);
    await run(args, flags);
  });
}

function option(f: Flag): Option {
  const o = new Option(f.spec, f.description);
  if (f.choices) o.choices([...f.choices]);
  if (f.many) o.argParser((value: string, before: string[] | undefined) => [...(before ?? []), value]);
  return o;
}

/** Commander throws instead of exiting, and says usage errors in one line. */
const parser = (p: Parser): Parser =>
  p
    .exitOverride()
    .showHelpAfterError(false)
    .configureOutput({ writeErr: () => {}, outputError: () => {} })
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .helpCommand(false);

/** What commander's refusal means for the exit: undefined when help was shown on request. */
export function usageError(e: unknown, program: Parser): Error | undefined {
  if (!(e instanceof CommanderError)) return e as Error;
  if (e.code === 'commander.helpDisplayed' || e.code === 'commander.version') return undefined;
  if (e.code === 'commander.help') return invalidArgument(`what do you want to do? Try: ${path(program)} --help`);
  return invalidArgument(`${e.message.replace(/^error: /, '')}. See: ${path(program)} --help`);
}

/** `berth vm start`: as far as the words on the command line name commands. */
function path(program: Parser): string {
  const words = ['berth'];
  let at: Parser | undefined = program;
  for (const word of process.argv.slice(2)) {
    at = at?.commands.find((c) => c.name() === word);
    if (!at) break;
    words.push(word);
  }
  return words.join(' ');
}
