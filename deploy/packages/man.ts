/** Manual pages of `berth` from its command definitions: one for the command, one for each noun. Pure. */
import type { Argument, Command, Flag } from '@berth/controller/cli/core/command.ts';
import { plain, roff, type Page } from './roff.ts';

type Nouns = Readonly<Record<string, { readonly summary: string }>>;

export interface Dated {
  readonly version: string;
  /** Seconds since 1970. */
  readonly epoch: number;
}

const FILES: readonly [string, string][] = [
  ['~/.config/berth/config.yaml', 'the controllers that this command line knows, and with what it logs in there'],
];
const ENVIRONMENT: readonly [string, string][] = [
  ['BERTH_CONTEXT', 'the controller to talk to, where --context does not say'],
  ['BERTH_CONFIG', 'another configuration file'],
];
const EXITS: readonly [string, string][] = [
  ['0', 'done'],
  ['1', 'failed'],
  ['2', 'wrong usage'],
  ['3', 'not found'],
  ['4', 'a conflict, or not allowed in this state'],
  ['5', 'the controller cannot be reached'],
  ['6', 'not permitted'],
];

/** `berth.1` and `berth-NOUN.1`, by file name. */
export function commandPages(commands: readonly Command[], nouns: Nouns, dated: Dated): Map<string, string> {
  const pages = new Map([['berth.1', overview(commands, nouns, dated)]]);
  for (const [noun, { summary }] of Object.entries(nouns)) {
    const verbs = commands.filter((c) => c.noun === noun);
    pages.set(`berth-${noun}.1`, nounPage(noun, summary, verbs, dated));
  }
  return pages;
}

function overview(commands: readonly Command[], nouns: Nouns, dated: Dated): string {
  const page = roff('berth', 1, 'virtual machines over many KVM hosts', dated);
  page.section('SYNOPSIS').synopsis('berth', '<noun> <verb> [name...] [flags]');
  page
    .section('DESCRIPTION')
    .text(
      'Asks the controller of a Berth installation, and shows what it answers. The first step is berth login. Every list takes -o json, yaml, name or wide; every command has --help.',
    );
  page.section('NOUNS');
  for (const [noun, { summary }] of Object.entries(nouns)) page.item(`berth-${noun}(1)`, summary);
  page.section('COMMANDS');
  for (const command of commands.filter((c) => c.noun === undefined)) describe(page, command);
  page.section('OPTIONS').item('--context <name>', 'controller to talk to').item('--version', 'print the version');
  return ending(page, Object.keys(nouns));
}

function nounPage(noun: string, summary: string, verbs: readonly Command[], dated: Dated): string {
  const page = roff(`berth-${noun}`, 1, summary, dated);
  page.section('SYNOPSIS').synopsis('berth', `${noun} <verb> [name...] [flags]`);
  page.section('COMMANDS');
  for (const command of verbs) describe(page, command);
  return ending(page, []);
}

function describe(page: Page, command: Command): void {
  const words = [command.noun, command.group, command.verb].filter((w) => w !== undefined).join(' ');
  page.subsection(`berth ${words}${command.args.map((a) => ` ${argument(a)}`).join('')}`);
  page.text(`${command.summary}.`);
  for (const a of command.args) page.item(argument(a), withChoices(a.description, a.choices));
  for (const f of command.flags) page.item(f.spec, withChoices(f.description, f.choices, f));
  if (command.details !== undefined) page.verbatim(command.details);
}

const argument = (a: Argument): string => {
  const name = a.many ? `${a.name}...` : a.name;
  return a.required ? `<${name}>` : `[${name}]`;
};

const withChoices = (text: string, choices: readonly string[] | undefined, flag?: Flag): string =>
  `${text}${choices === undefined ? '' : ` (${choices.join(', ')})`}${flag?.many ? '; may be given several times' : ''}`;

function ending(page: Page, nouns: readonly string[]): string {
  page.section('FILES');
  for (const [name, text] of FILES) page.item(name, text);
  page.section('ENVIRONMENT');
  for (const [name, text] of ENVIRONMENT) page.item(name, text);
  page.section('EXIT STATUS');
  for (const [code, text] of EXITS) page.item(code, text);
  const others = nouns.length > 0 ? nouns.map((n) => `berth-${n}(1)`) : ['berth(1)'];
  page.section('SEE ALSO').text([...others, 'berth-controller(8)', 'berth-agent(8)'].join(', '));
  return page.end();
}

/** A daemon's page: what its `--help` says of itself and of each of its commands. Pure. */
export function daemonPage(
  name: string,
  summary: string,
  help: readonly (readonly [command: string, text: string])[],
  about: { readonly text: readonly string[]; readonly files: readonly (readonly [string, string])[] },
  dated: Dated,
): string {
  const page = roff(name, 8, summary, dated);
  page.section('SYNOPSIS').synopsis(name, '<command> [flags]');
  page.section('DESCRIPTION');
  for (const text of about.text) page.text(text);
  page.section('COMMANDS');
  for (const [command, text] of help) page.subsection(command).verbatim(text);
  page.section('FILES');
  for (const [file, text] of about.files) page.item(file, text);
  page.section('SEE ALSO').text(plain('berth(1), systemctl(1)'));
  return page.end();
}
