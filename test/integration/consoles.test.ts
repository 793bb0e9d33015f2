/** Serial consoles with real processes: what a guest prints while a controller dies and comes back, and how a console ends. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

let c: Cluster;

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.waitUp('h1');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', 'web', 'db', '--memory', '64MiB', '--start');
});
afterAll(() => c?.stop());

/** A console that a test types into. */
class Person {
  out = '';
  err = '';
  readonly process;
  constructor(...args: string[]) {
    this.process = execa(process.execPath, [PROGRAMS.berth, 'vm', ...args], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
      buffer: false,
    });
    this.process.stdout.on('data', (d: Buffer) => (this.out += d.toString()));
    this.process.stderr.on('data', (d: Buffer) => (this.err += d.toString()));
  }
  type(text: string): void {
    this.process.stdin.write(text);
  }
  sees(text: string): Promise<unknown> {
    return eventually(`${text} is seen`, async () => {
      if (this.out.includes(text) || this.err.includes(text)) return true;
      throw new Error(`out ${JSON.stringify(this.out.slice(-300))} err ${this.err}`);
    });
  }
  async leave(): Promise<number | undefined> {
    this.process.kill('SIGINT');
    return (await this.process).exitCode;
  }
}

const numbers = (text: string): number[] => [...text.matchAll(/^line (\d+)\r$/gm)].map((m) => Number(m[1]));
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

it('shows every line once, in order, over the death of the controller', async () => {
  const me = new Person('console', 'web');
  const log = new Person('log', 'web', '--follow');
  me.type('count 800\n');
  await me.sees('line 50\r');
  await log.sees('line 50\r');
  await c.controller.end('SIGKILL');
  await me.sees('Waiting for it; Ctrl-C leaves.');
  c.controller.start();
  await me.sees('line 800\r');
  await log.sees('line 800\r');
  expect(numbers(me.out)).toEqual(upTo(800));
  expect(numbers(log.out)).toEqual(upTo(800));
  expect(me.err.match(/Waiting for it/g)).toHaveLength(1);
  await me.sees('web is back.');
  me.type('still there\n');
  await me.sees('web: still there');
  expect(await me.leave()).toBe(130);
  await log.leave();
});

it('is one at a time; who takes it by force has it, and the other is told and does not come back', async () => {
  const me = new Person('console', 'web');
  me.type('mine\n');
  await me.sees('web: mine');
  expect(await c.berth('vm', 'console', 'web')).toMatchObject({ code: 4, err: expect.stringContaining('in use') });
  const other = new Person('console', 'web', '--force');
  other.type('theirs\n');
  await other.sees('web: theirs');
  const end = await me.process;
  expect([end.exitCode, me.err]).toEqual([
    4,
    expect.stringMatching(/somebody else has taken over the console of vm web$/m),
  ]);
  await other.leave();
});

it('ends when the VM stops, with its last words; with --wait it goes on when it starts', async () => {
  const me = new Person('console', 'db');
  const stays = new Person('console', 'web', '--wait');
  me.type('hello\n');
  stays.type('hello\n');
  await me.sees('db: hello');
  await stays.sees('web: hello');
  await c.ok('vm', 'stop', 'web', 'db', '--force');
  expect([(await me.process).exitCode, me.err]).toEqual([
    0,
    expect.stringMatching(/The console of db ended: it is stopped\.$/m),
  ]);
  await stays.sees('web is off. Waiting for it to start; Ctrl-C leaves.');
  await c.ok('vm', 'start', 'web');
  await stays.sees('berth-guest: web');
  stays.type('again\n');
  await stays.sees('web: again');
  expect(stays.out.match(/hello/g)).toHaveLength(1);
  await stays.leave();
  expect(await c.berth('vm', 'console', 'db')).toMatchObject({
    code: 4,
    err: 'berth: vm db is stopped on h1. Start it first (berth vm start db).',
  });
});

it('gives a pipe what the guest answers, and ends with it', async () => {
  await c.ok('vm', 'start', 'db');
  const r = await c.berthWith({ input: 'one\ntwo\n' }, 'vm', 'console', 'db');
  expect([r.code, r.out]).toEqual([0, expect.stringContaining('db: one\ntwo')]);
});

it('tells whether a guest talks on its serial port, and what to change where it does not', async () => {
  const silent = await c.ok('vm', 'console', '--check', 'web');
  expect(silent).toMatch(/^web has printed \d+ bytes; no login was seen among it/);
  await c.ok('vm', 'create', 'new', '--disk', '1MiB', '--memory', '64MiB');
  const never = await c.ok('vm', 'console', '--check', 'new');
  expect(never).toMatch(/new has never printed anything.*\n.*console=ttyS0.*\n.*serial-getty@ttyS0/);
});

it('runs ssh as it is asked for, to the address that is known, and ends as it does', async () => {
  const bin = join(c.dir, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'ssh'), '#!/bin/sh\necho "ssh $*"\nexit 7\n', { mode: 0o755 });
  const env = { PATH: `${bin}:/usr/bin:/bin` };
  await c.ok('vm', 'clone', 'base', 'far', '--ip', '10.77.0.9/24', '--memory', '64MiB', '--start');
  const r = await c.berthWith({ env }, 'vm', 'ssh', 'far', '-l', 'me', '--via', 'h1', '--', 'ls', '-l', 'x', 'x');
  expect([r.code, r.out]).toEqual([
    7,
    expect.stringMatching(
      /^ssh -o HostKeyAlias=vm-\w+ -o CheckHostIP=no -l me -J 127\.0\.0\.1 -- 10\.77\.0\.9 ls -l x x$/,
    ),
  ]);
  expect(await c.berthWith({ env }, 'vm', 'ssh', 'web')).toMatchObject({
    code: 3,
    err: expect.stringMatching(/no address of vm web is known.*berth vm console web$/),
  });
  await c.ok('vm', 'stop', 'far', '--force');
  expect(await c.berthWith({ env }, 'vm', 'ssh', 'far')).toMatchObject({
    code: 4,
    err: 'berth: vm far is stopped. Start it first (berth vm start far).',
  });
});

it.each(['SIGTERM', 'SIGHUP', 'SIGINT'] as const)('leaves the terminal as it was after %s', async (signal) => {
  // `script` gives it a terminal; no shell with job control may mend that, so stty says what berth left
  const inner = `exec 3<&0; ${process.execPath} ${PROGRAMS.berth} vm console db <&3 & echo pid $!; wait; stty -a; echo ov""er`;
  const shell = execa('script', ['-qec', `sh -c '${inner}'`, '/dev/null'], {
    env: { BERTH_CONFIG: c.configFile },
    reject: false,
    buffer: false,
    stdin: 'pipe',
  });
  let heard = '';
  shell.stdout.on('data', (d: Buffer) => (heard += d.toString()));
  shell.stdin.write('\r');
  await eventually('it talks', async () => {
    if (heard.includes('db: ')) return true;
    throw new Error(heard);
  });
  process.kill(Number(/^pid (\d+)/m.exec(heard)?.[1]), signal);
  await eventually('it is over', async () => {
    if (heard.includes('over')) return true;
    throw new Error(heard);
  });
  shell.stdin.end();
  expect(heard).toMatch(/ icanon/);
  expect(heard).toMatch(/ echo /);
  await shell;
});
