/**
 * One command of `berth`, from its words to its exit code. Where it reads and writes, and what its file is, is told: main.ts does that
 * for a process.
 */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { safeText } from '@berth/shared/units/text.ts';
import { commandsFor, NOUNS } from './commands.ts';
import { complete } from './completion/completion.ts';
import type { Api } from './core/api.ts';
import type { Command } from './core/command.ts';
import type { ConfigStore } from './core/config.ts';
import type { CommandTrace } from './core/trace.ts';
import type { Context } from './core/context.ts';
import type { Upkeep } from './core/upkeep.ts';
import { errorText, EXIT, exitCode } from './core/exit.ts';
import { buildProgram, helpOnlyForKnown, usageError, type HelpShown } from './program.ts';

/** As a shell reports a program that ended by SIGINT. */
export const INTERRUPTED = 130;

export interface Surroundings extends Pick<Context, 'stdin' | 'stdout' | 'stderr' | 'signal' | 'finishUnread'> {
  /** The command line's own file. @param context what `--context` says. */
  config(context: string | undefined): Promise<ConfigStore>;
}

/** Answers the exit code; what went wrong has been said on `stderr` then. */
export async function runCommand(words: readonly string[], s: Surroundings): Promise<number> {
  let worst: number = EXIT.done;
  let api: Api | undefined;
  let upkeep: Upkeep | undefined;
  const context = async (name: string | undefined): Promise<Context> => {
    const config = await s.config(name);
    return {
      ...{ config, clock: systemClock, stdin: s.stdin, stdout: s.stdout, stderr: s.stderr, signal: s.signal },
      fail: (code) => (worst = Math.max(worst, code)),
      finishUnread: () => s.finishUnread(),
      async api() {
        if (!api) {
          const endpoint = config.endpoint();
          const { createApi } = await import('./core/api.ts');
          api = createApi(endpoint, () => systemClock.now());
          const { Upkeep } = await import('./core/upkeep.ts');
          upkeep = new Upkeep({ api, store: config, name: config.current() ?? '', clock: systemClock });
        }
        return api;
      },
    };
  };
  const commands = await commandsFor(words);
  let trace: CommandTrace | undefined;
  const program = buildProgram(commands, NOUNS, async (command, args, flags, name) => {
    const run = async (): Promise<void> => command.run(await context(name), args, flags);
    trace = await traceOf(command, s);
    await (trace?.run(run) ?? run());
  });
  try {
    const [first, second, ...typed] = words;
    if (first === 'completion' && second === 'words')
      await complete(await context(contextIn(typed)), commands, Object.keys(NOUNS), typed);
    else await program.parseAsync(helpOnlyForKnown(words, program), { from: 'user' });
    return s.signal.aborted ? INTERRUPTED : worst;
  } catch (e) {
    if (s.signal.aborted) return INTERRUPTED;
    const error = usageError(e, words, program);
    if (!(error instanceof Error)) return HELP_EXIT[error];
    s.stderr.write(`berth: ${safeText(errorText(error))}\n`);
    return exitCode(error);
  } finally {
    await upkeep?.end();
    api?.close();
    await trace?.end();
  }
}

/** Undefined: nobody wants one, as nearly always. */
async function traceOf({ noun, verb }: Command, s: Surroundings): Promise<CommandTrace | undefined> {
  const { traceSettings } = await import('./core/config.ts');
  const settings = traceSettings();
  if (settings === undefined) return undefined;
  const { traceCommand } = await import('./core/trace.ts');
  try {
    return traceCommand(['berth', noun, verb].filter(Boolean).join(' '), settings);
  } catch (e) {
    s.stderr.write(`berth: this command is not traced: ${safeText(errorText(e))}\n`);
    return undefined;
  }
}

/** Of a half-typed command line: names are those of the controller that is meant. */
function contextIn(typed: readonly string[]): string | undefined {
  const at = typed.indexOf('--context');
  return at >= 0 && at < typed.length - 2 ? typed[at + 1] : undefined;
}

const HELP_EXIT: Readonly<Record<HelpShown, number>> = { 'help was wanted': EXIT.done, 'help was needed': EXIT.usage };
