/**
 * Runs programs in a container without starting each through the engine, which takes 40 ms of CPU (runc twice, containerd, dockerd)
 * where the program itself takes one: shells that were started once are told what to run. For programs that need no input;
 * what needs some, or is to stay, is exec.ts's business.
 */
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import type { Container } from './engine.ts';
import type { RawExecResult } from './exec.ts';

type Connection = Awaited<ReturnType<Awaited<ReturnType<Container['exec']>>['start']>>;

/** As many shells as programs ever ran at once in that container. */
export class Shells {
  #idle: Shell[] = [];

  constructor(private readonly container: Container) {}

  /** Runs `argv` (no shell). A failing program is an answer, not an error; so is a container that dies meanwhile, with -1. */
  async run(argv: readonly string[]): Promise<RawExecResult> {
    const shell = this.#take() ?? (await openShell(this.container));
    const answer = await shell.run(argv);
    if (shell.open) this.#idle.push(shell);
    return answer;
  }

  /** Before the container is frozen or killed: a shell would neither answer nor say that it can't. */
  drop(): void {
    for (const shell of this.#idle.splice(0)) shell.close();
  }

  #take(): Shell | undefined {
    for (let shell = this.#idle.pop(); shell !== undefined; shell = this.#idle.pop()) if (shell.open) return shell;
    return undefined;
  }
}

async function openShell(container: Container): Promise<Shell> {
  const exec = await container.exec({ Cmd: ['sh'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
  return new Shell(container, await exec.start({ hijack: true, stdin: true }));
}

/** One shell, which does one thing at a time. While it does nothing, it keeps nobody's process from ending. */
class Shell {
  readonly #mark = randomBytes(12).toString('hex');
  readonly #connection: Connection;
  #outputs: { readonly stdout: Output; readonly stderr: Output } | undefined;
  #ended: (() => void) | undefined;
  open = true;

  constructor(container: Container, connection: Connection) {
    this.#connection = connection;
    container.modem.demuxStream(
      connection,
      sink((chunk) => this.#hear(this.#outputs?.stdout, chunk)),
      sink((chunk) => this.#hear(this.#outputs?.stderr, chunk)),
    );
    for (const event of ['end', 'close', 'error']) connection.on(event, () => this.close());
  }

  async run(argv: readonly string[]): Promise<RawExecResult> {
    const [stdout, stderr] = [new Output(this.#mark), new Output(this.#mark)];
    this.#outputs = { stdout, stderr };
    setReferenced(this.#connection, true);
    const ended = new Promise<void>((resolve) => (this.#ended = resolve));
    this.#connection.write(commandLine(argv, this.#mark));
    if (!this.open) this.#ended?.();
    await ended;
    this.#outputs = undefined;
    setReferenced(this.#connection, false);
    return { exitCode: stdout.exitCode ?? -1, stdout: stdout.bytes(), stderr: stderr.bytes() };
  }

  close(): void {
    this.open = false;
    this.#connection.destroy();
    this.#ended?.();
  }

  #hear(output: Output | undefined, chunk: Buffer): void {
    output?.add(chunk);
    const both = this.#outputs;
    if (both?.stdout.exitCode !== undefined && both.stderr.exitCode !== undefined) this.#ended?.();
  }
}

/**
 * What a shell reads: the program, never one that it has built in, and then a line on each of its outputs that says that it has
 * ended, and how. Pure.
 */
export function commandLine(argv: readonly string[], mark: string): string {
  const words = argv.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const line = `printf '${mark} %03d\\n' $code`;
  return `(exec ${words}) </dev/null; code=$?; ${line}; ${line} >&2\n`;
}

/** What came on one output. Its last line has always the same length: the mark, a blank, three digits. */
export class Output {
  #chunks: Buffer[] = [];
  #tail = Buffer.alloc(0);

  constructor(private readonly mark: string) {}

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#tail = Buffer.concat([this.#tail, chunk]).subarray(-this.#lineBytes);
  }

  /** Undefined until the program has ended. */
  get exitCode(): number | undefined {
    const [mark, code] = this.#tail.toString('latin1').split(' ');
    return mark === this.mark && this.#tail.length === this.#lineBytes ? Number(code) : undefined;
  }

  /** Without the line that says so. */
  bytes(): Buffer {
    const all = Buffer.concat(this.#chunks);
    return this.exitCode === undefined ? all : all.subarray(0, -this.#lineBytes);
  }

  get #lineBytes(): number {
    return this.mark.length + 5;
  }
}

function sink(take: (chunk: Buffer) => void): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      take(chunk);
      done();
    },
  });
}

/** The engine's library hands out its socket, of which it tells nothing but that it is a stream. */
function setReferenced(connection: Connection, wanted: boolean): void {
  const socket = connection as Connection & { ref?: () => void; unref?: () => void };
  if (wanted) socket.ref?.();
  else socket.unref?.();
}
