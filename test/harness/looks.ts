/**
 * `berth` in the test's own process, for looks that are repeated until a cluster is as wanted: a process for each takes the machine
 * from the very guests and daemons that are waited for. What is done once is a process.
 */
import { setMaxListeners } from 'node:events';
import { Readable, Writable } from 'node:stream';
import type { Said } from './processes.ts';

/** What `berth` says, like `run` of a process. @param file its configuration. @param deadlineMs it is interrupted then. */
export async function lookWith(file: string, args: readonly string[], deadlineMs = 180_000): Promise<Said> {
  const { runCommand } = await import('@berth/controller/cli/run.ts');
  const { configStore } = await import('@berth/controller/cli/core/config.ts');
  const [out, err] = [new Kept(), new Kept()];
  const signal = AbortSignal.timeout(deadlineMs);
  setMaxListeners(0, signal); // one listener for each of many names
  const code = await runCommand(args, {
    ...{ stdin: Readable.from([]), stdout: out, stderr: err, signal },
    finishUnread: () => undefined,
    config: (context) => Promise.resolve(configStore(context, file)),
  });
  return { code, out: out.text, err: err.text };
}

class Kept extends Writable {
  #chunks: Buffer[] = [];

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }

  /** Without the end of its last line, as `run` gives it. */
  get text(): string {
    return Buffer.concat(this.#chunks).toString().replace(/\n$/, '');
  }
}
