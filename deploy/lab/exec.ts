/** Runs programs inside a lab host and waits for them. Detached programs are started by LabHost itself. */
import { PassThrough } from 'node:stream';
import type { Container } from './engine.ts';

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RawExecResult {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
}

/** Runs `argv` (no shell) with `input` on its standard input. A failing program is an answer, not an error. */
export async function execIn(
  container: Container,
  argv: readonly string[],
  input?: string | Buffer,
): Promise<RawExecResult> {
  const exec = await container.exec({
    Cmd: [...argv],
    AttachStdout: true,
    AttachStderr: true,
    AttachStdin: input !== undefined,
  });
  const stream = await exec.start({ hijack: true, stdin: input !== undefined });
  const stdout = collect();
  const stderr = collect();
  container.modem.demuxStream(stream, stdout.sink, stderr.sink);
  const ended = new Promise<void>((resolve, reject) => {
    stream.on('end', resolve);
    stream.on('close', resolve);
    stream.on('error', reject);
  });
  if (input !== undefined) stream.end(input);
  await ended;
  const { ExitCode } = await exec.inspect();
  return { exitCode: ExitCode ?? -1, stdout: stdout.bytes(), stderr: stderr.bytes() };
}

/** Starts `argv` and leaves it running. */
export async function execDetached(container: Container, argv: readonly string[]): Promise<void> {
  const exec = await container.exec({ Cmd: [...argv] });
  await exec.start({ Detach: true });
}

function collect(): { sink: PassThrough; bytes: () => Buffer } {
  const chunks: Buffer[] = [];
  const sink = new PassThrough();
  sink.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { sink, bytes: () => Buffer.concat(chunks) };
}
