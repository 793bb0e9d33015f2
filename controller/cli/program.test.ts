import { beforeEach, describe, expect, it, vi } from 'vitest';
import { expectGolden } from '../../test/harness/golden.ts';
import { commandsFor, NOUNS } from './commands.ts';
import type { Command, Flags } from './core/command.ts';
import { buildProgram, helpOnlyForKnown, usageError } from './program.ts';
import { VIRSH_WORDS } from './virsh-words.ts';

const COMMANDS = await commandsFor(Object.keys(NOUNS));

/** Parses a line; answers what would run, or the words of the refusal. */
async function parse(
  ...words: string[]
): Promise<{ command: Command; args: readonly string[]; flags: Flags } | string> {
  let ran: { command: Command; args: readonly string[]; flags: Flags } | undefined;
  const program = buildProgram(COMMANDS, NOUNS, async (command, args, flags) => {
    ran = { command, args, flags };
  });
  try {
    await program.parseAsync(helpOnlyForKnown(words, program), { from: 'user' });
    return ran ?? 'nothing ran';
  } catch (e) {
    const error = usageError(e, words, program);
    return error instanceof Error ? error.message : error;
  }
}

describe('the command line', () => {
  // Help is shown by commander itself.
  beforeEach(() => {
    vi.spyOn(process.stdout, 'write').mockReturnValue(true);
    vi.spyOn(process.stderr, 'write').mockReturnValue(true);
    return () => void vi.restoreAllMocks();
  });

  it('parses names and flags', async () => {
    expect(
      await parse('vm', 'clone', 'base', 'web', 'db', '--disk-size', '20GiB', '--dns', '1.1.1.1', '--dns', '9.9.9.9'),
    ).toMatchObject({
      command: { noun: 'vm', verb: 'clone' },
      args: ['base', 'web', 'db'],
      flags: { diskSize: '20GiB', dns: ['1.1.1.1', '9.9.9.9'], wait: true },
    });
  });

  it('says in one line what is wrong', async () => {
    expect(await parse('vm', 'console')).toMatch(/missing required argument 'vm'/);
    expect(await parse('vm', 'start', '--fast', 'web')).toMatch(/unknown option '--fast'/);
    expect(await parse('vm', 'fly')).toMatch(/unknown command 'fly'/);
    expect(await parse('vm', 'start', 'web', 'web')).toBe('web is named twice');
    expect(await parse('vm', 'list', '-o', 'xml')).toMatch(/xml.*name\. See: berth vm list --help$/);
    expect(await parse('vm', 'list', 'web')).toMatch(/too many arguments.*got 1\. See: berth vm list --help$/);
    expect(await parse('vm', 'strat', 'web')).toBe(
      "unknown command 'strat' (Did you mean start?). See: berth vm --help",
    );
  });

  it('tells who types a word of virsh which command does that', async () => {
    expect(await parse('dumpxml', 'web')).toBe('berth has no dumpxml. What does that here: berth vm show NAME -o yaml');
    expect(await parse('vm', 'define', 'web.xml')).toBe(
      'berth vm has no define. What does that here: berth apply -f FILE',
    );
    expect(await parse('start', 'web')).toMatch(/berth vm start NAME$/);
    expect(await parse('network', 'start', 'lan')).toMatch(/^unknown command 'start'/);
    expect(await parse('toString')).toMatch(/^unknown command 'toString'/);
  });

  it.each(Object.entries(VIRSH_WORDS))('has what it tells for %s: %s', async (word, line) => {
    const said = { SIZE: '1GiB', N: '2', MAC: '52:54:00:12:34:56' } as Readonly<Record<string, string>>;
    const typed = line.split(' ').map((w) => w.replace(/[A-Z]+/g, (p) => said[p] ?? p));
    expect(await parse(...typed)).toMatchObject({ command: {}, args: expect.anything() as unknown });
    expect(COMMANDS.some((c) => c.noun === undefined && c.verb === word)).toBe(false);
  });

  it('shows help on request', async () => {
    expect(await parse('vm', 'clone', '--help')).toBe('help was wanted');
    expect(await parse('vm')).toBe('help was needed');
    for (const words of [
      ['--help'],
      ['vm', '-h'],
      ['vm', 'start', 'web', '--help'],
      ['--context', 'x', 'vm', '--help'],
    ])
      expect([words, await parse(...words)]).toEqual([words, 'help was wanted']);
  });

  it('shows no help for what there is not', async () => {
    expect(await parse('nosuch', '--help')).toMatch(/^unknown command 'nosuch'/);
    expect(await parse('vm', 'fly', '-h')).toMatch(/^unknown command 'fly'/);
  });

  it('has a reference that changes only on purpose', () => {
    const program = buildProgram(COMMANDS, NOUNS, async () => {});
    const pages = [
      program,
      ...program.commands.flatMap((c) => [c, ...c.commands.flatMap((d) => [d, ...d.commands])]),
    ].map((c) => c.configureHelp({ helpWidth: 110 }).helpInformation());
    expectGolden(import.meta.url, 'help.txt', pages.join('\n---\n'));
  });

  it('has a unique place for each command, and a summary', () => {
    const places = COMMANDS.map((c) => `${c.noun ?? ''} ${c.group ?? ''} ${c.verb}`);
    expect(new Set(places).size).toBe(places.length);
    for (const c of COMMANDS) expect(c.summary, places.join()).toMatch(/^[a-z].*[^.]$/);
  });
});
