/** The `berth` command: streams, Ctrl-C, exit codes. Everything else is in the commands. */
import { setMaxListeners } from 'node:events';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { safeText } from '@berth/shared/units/text.ts';
import { commandsFor, NOUNS } from './commands.ts';
import { complete } from './completion/completion.ts';
import type { Api } from './core/api.ts';
import type { Command } from './core/command.ts';
import type { CommandTrace } from './core/trace.ts';
import type { Context } from './core/context.ts';
import type { Upkeep } from './core/upkeep.ts';
import { errorText, EXIT, exitCode } from './core/exit.ts';
import { buildProgram, helpOnlyForKnown, usageError, type HelpShown } from './program.ts';

/** As a shell reports a program that ended by SIGINT. */
const INTERRUPTED = 130;

async function main(words: readonly string[]): Promise<number> {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal); // one listener for each of many names
  process.once('SIGINT', () => {
    stop.abort(new Error('interrupted'));
    process.once('SIGINT', () => process.exit(INTERRUPTED));
  });
  onLostOutput();
  let worst: number = EXIT.done;
  let api: Api | undefined;
  let upkeep: Upkeep | undefined;
  const context = async (name: string | undefined): Promise<Context> => {
    const { configStore } = await import('./core/config.ts');
    const config = configStore(name);
    return {
      config,
      clock: systemClock,
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      signal: stop.signal,
      fail: (code) => (worst = Math.max(worst, code)),
      finishUnread: () => (finishes = true),
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
    trace = await traceOf(command);
    await (trace?.run(run) ?? run());
  });
  try {
    const [first, second, ...typed] = words;
    if (first === 'completion' && second === 'words')
      await complete(await context(contextIn(typed)), commands, Object.keys(NOUNS), typed);
    else await program.parseAsync(helpOnlyForKnown(words, program), { from: 'user' });
    return stop.signal.aborted ? INTERRUPTED : worst;
  } catch (e) {
    if (stop.signal.aborted) return INTERRUPTED;
    const error = usageError(e, words, program);
    if (!(error instanceof Error)) return HELP_EXIT[error];
    process.stderr.write(`berth: ${safeText(errorText(error))}\n`);
    return exitCode(error);
  } finally {
    await upkeep?.end();
    api?.close();
    await trace?.end();
  }
}

/** Undefined: nobody wants one, as nearly always. */
async function traceOf({ noun, verb }: Command): Promise<CommandTrace | undefined> {
  const { traceSettings } = await import('./core/config.ts');
  const settings = traceSettings();
  if (settings === undefined) return undefined;
  const { traceCommand } = await import('./core/trace.ts');
  try {
    return traceCommand(['berth', noun, verb].filter(Boolean).join(' '), settings);
  } catch (e) {
    process.stderr.write(`berth: this command is not traced: ${safeText(errorText(e))}\n`);
    return undefined;
  }
}

/** Of a half-typed command line: names are those of the controller that is meant. */
function contextIn(typed: readonly string[]): string | undefined {
  const at = typed.indexOf('--context');
  return at >= 0 && at < typed.length - 2 ? typed[at + 1] : undefined;
}

/** Set by commands that change something: half of a batch must not stay undone because of a pipe. */
let finishes = false;
const NOBODY_READS = new Set(['EPIPE', 'ERR_STREAM_DESTROYED']);

/** Whoever reads our pipe may leave when they have seen enough; anything else means that what was asked for is not there. */
function onLostOutput(): void {
  process.stdout.on('error', (e: NodeJS.ErrnoException) => {
    if (NOBODY_READS.has(e.code ?? '')) return finishes ? undefined : process.exit(EXIT.done);
    process.stderr.write(`berth: the output could not be written: ${e.message}\n`);
    process.exit(EXIT.failed);
  });
  process.stderr.on('error', () => {}); // nobody is left to be told
}

const HELP_EXIT: Readonly<Record<HelpShown, number>> = { 'help was wanted': EXIT.done, 'help was needed': EXIT.usage };

/** A connection in the middle of its handshake with a controller that hangs can't be closed: it would keep the command for ever. */
const LINGERS_MS = 1_000;

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
  systemClock.after(LINGERS_MS, () => process.exit(code));
});
