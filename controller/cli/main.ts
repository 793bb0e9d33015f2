/** The `berth` command: streams, Ctrl-C, exit codes. Everything else is in the commands. */
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { COMMANDS, NOUNS } from './commands.ts';
import { complete } from './completion/completion.ts';
import type { Api } from './core/api.ts';
import { configStore } from './core/config.ts';
import type { Context } from './core/context.ts';
import { errorText, EXIT, exitCode } from './core/exit.ts';
import { buildProgram, usageError } from './program.ts';

/** As a shell reports a program that ended by SIGINT. */
const INTERRUPTED = 130;

async function main(): Promise<number> {
  const stop = new AbortController();
  process.once('SIGINT', () => {
    stop.abort(new Error('interrupted'));
    process.once('SIGINT', () => process.exit(INTERRUPTED));
  });
  process.stdout.on('error', () => process.exit(EXIT.done)); // the reader of our pipe went away
  let worst: number = EXIT.done;
  let api: Api | undefined;
  const context = (name: string | undefined): Context => {
    const config = configStore(name);
    return {
      config,
      clock: systemClock,
      stdin: process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      signal: stop.signal,
      fail: (code) => (worst = Math.max(worst, code)),
      async api() {
        if (!api) {
          const endpoint = config.endpoint();
          const { createApi } = await import('./core/api.ts');
          api = createApi(endpoint, () => systemClock.now());
        }
        return api;
      },
    };
  };
  const program = buildProgram(COMMANDS, NOUNS, (command, args, flags, name) =>
    command.run(context(name), args, flags),
  );
  try {
    const [first, second, ...words] = process.argv.slice(2);
    if (first === 'completion' && second === 'words') await complete(context(undefined), COMMANDS, words);
    else await program.parseAsync(process.argv);
    return stop.signal.aborted ? INTERRUPTED : worst;
  } catch (e) {
    if (stop.signal.aborted) return INTERRUPTED;
    const error = usageError(e, program);
    if (!error) return EXIT.done;
    process.stderr.write(`berth: ${errorText(error)}\n`);
    return exitCode(error);
  } finally {
    api?.close();
  }
}

process.exitCode = await main();
