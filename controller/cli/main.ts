/** The `berth` command as a process: streams, Ctrl-C, the exit code. Everything else is in run.ts and the commands. */
import { setMaxListeners } from 'node:events';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { EXIT } from './core/exit.ts';
import { INTERRUPTED, runCommand } from './run.ts';

async function main(words: readonly string[]): Promise<number> {
  const stop = new AbortController();
  setMaxListeners(0, stop.signal); // one listener for each of many names
  process.once('SIGINT', () => {
    stop.abort(new Error('interrupted'));
    process.once('SIGINT', () => process.exit(INTERRUPTED));
  });
  onLostOutput();
  return runCommand(words, {
    ...{ stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, signal: stop.signal },
    finishUnread: () => (finishes = true),
    config: async (context) => (await import('./core/config.ts')).configStore(context),
  });
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

/** A connection in the middle of its handshake with a controller that hangs can't be closed: it would keep the command for ever. */
const LINGERS_MS = 1_000;

void main(process.argv.slice(2)).then((code) => {
  process.exitCode = code;
  systemClock.after(LINGERS_MS, () => process.exit(code));
});
