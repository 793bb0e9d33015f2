/** The shells that run programs in containers, with a real one whose outputs come in frames as the engine sends them. */
import { spawn } from 'node:child_process';
import { Duplex } from 'node:stream';
import { expect, it, vi } from 'vitest';
import type { Container } from './engine.ts';
import { commandLine, Output, Shells } from './shells.ts';

const opened = vi.fn();

/** The engine's connection to one: what is written is read by the shell. */
class ShellConnection extends Duplex {
  readonly #shell = spawn('sh');

  constructor() {
    super();
    opened();
    this.#shell.stdout.on('data', (d: Buffer) => this.push(Buffer.concat([Buffer.of(1), d])));
    this.#shell.stderr.on('data', (d: Buffer) => this.push(Buffer.concat([Buffer.of(2), d])));
    this.#shell.on('close', () => this.push(null));
  }

  override _read(): void {}

  override _write(d: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#shell.stdin.write(d);
    done();
  }

  override _destroy(_e: Error | null, done: () => void): void {
    this.#shell.stdin.end();
    done();
  }
}

/** One piece is one frame here, of which the first byte says where it belongs. */
const modem = {
  demuxStream: (from: Duplex, out: NodeJS.WritableStream, err: NodeJS.WritableStream) =>
    from.on('data', (d: Buffer) => (d[0] === 1 ? out : err).write(d.subarray(1))),
};
const container = (): Container => {
  opened.mockClear();
  const start = () => Promise.resolve(new ShellConnection());
  return { modem, exec: () => Promise.resolve({ start }) } as unknown as Container;
};
const run = async (shells: Shells, ...argv: string[]) => {
  const { exitCode, stdout, stderr } = await shells.run(argv);
  return [exitCode, stdout.toString(), stderr.toString()];
};

it('gives a program its words as they are, and answers all that it says, and how it ended', async () => {
  const shells = new Shells(container());
  const words = ["it's", '$HOME', 'a\nb', '', '\\', '"`&;'];
  expect(await run(shells, 'printf', '<%s>', ...words)).toEqual([0, words.map((w) => `<${w}>`).join(''), '']);
  expect(await run(shells, 'sh', '-c', 'printf said; printf words >&2; exit 3')).toEqual([3, 'said', 'words']);
  expect(await run(shells, 'sh', '-c', 'kill -KILL $$')).toEqual([137, '', expect.any(String)]);
  expect(await run(shells, 'cat')).toEqual([0, '', '']);
  expect((await run(shells, 'no-such-program'))[0]).toBe(127);
  const large = await shells.run(['head', '-c', '3000000', '/dev/urandom']);
  expect([large.exitCode, large.stdout.length, large.stderr.length]).toEqual([0, 3_000_000, 0]);
  expect(opened).toHaveBeenCalledOnce();
  shells.drop();
});

it('runs none of what shells have built in: it would be gone with it', async () => {
  const shells = new Shells(container());
  expect((await run(shells, 'exit', '0'))[0]).toBe(127);
  expect(await run(shells, 'echo', 'a\\nb')).toEqual([0, 'a\\nb\n', '']);
  expect(opened).toHaveBeenCalledOnce();
  shells.drop();
});

it('has one for each program that runs at the same time, and keeps them', async () => {
  const shells = new Shells(container());
  const both = async () => Promise.all([run(shells, 'echo', '1'), run(shells, 'echo', '2')]);
  for (const _ of [1, 2])
    expect(await both()).toEqual([
      [0, '1\n', ''],
      [0, '2\n', ''],
    ]);
  expect(opened).toHaveBeenCalledTimes(2);
  shells.drop();
});

it('answers -1 when the container dies meanwhile, and takes another after that', async () => {
  const shells = new Shells(container());
  expect(await run(shells, 'sh', '-c', 'echo begun; kill -KILL $PPID')).toEqual([-1, 'begun\n', '']);
  expect(await run(shells, 'echo', 'again')).toEqual([0, 'again\n', '']);
  shells.drop();
  expect(await run(shells, 'echo', 'once more')).toEqual([0, 'once more\n', '']);
  expect(opened).toHaveBeenCalledTimes(3);
  shells.drop();
});

it('finds the end of an output in whatever pieces it comes', () => {
  const text = Buffer.from(`x${'m'.repeat(24)} 042\n`);
  for (let at = 0; at < text.length; at++) {
    const output = new Output('m'.repeat(24));
    output.add(text.subarray(0, at));
    expect(output.exitCode).toBeUndefined();
    output.add(text.subarray(at));
    expect([output.exitCode, output.bytes().toString()]).toEqual([42, 'x']);
  }
  expect(commandLine(['a', "b'c"], 'm')).toMatch(/^\(exec 'a' 'b'\\''c'\) <\/dev\/null; /);
});
