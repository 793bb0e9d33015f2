/** Displays with real processes and simulated guests, which greet as VNC does and give back what they get. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
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

/** `berth vm vnc`, and what it says. */
class Screen {
  out = '';
  err = '';
  readonly process;
  constructor(env: Record<string, string>, ...args: string[]) {
    this.process = execa(process.execPath, [PROGRAMS.berth, 'vm', 'vnc', ...args], {
      env: { BERTH_CONFIG: c.configFile, DISPLAY: '', WAYLAND_DISPLAY: '', ...env },
      reject: false,
      buffer: false,
      stdin: 'ignore',
    });
    this.process.stdout.on('data', (d: Buffer) => (this.out += d.toString()));
    this.process.stderr.on('data', (d: Buffer) => (this.err += d.toString()));
  }
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return eventually(`it says ${pattern.source}`, async () => {
      const found = pattern.exec(this.out + this.err);
      if (found) return found;
      throw new Error(this.out + this.err);
    });
  }
  /** To people. */
  tells(pattern: RegExp): Promise<unknown> {
    return eventually(`it tells ${pattern.source}`, async () => pattern.test(this.err));
  }
  async port(): Promise<number> {
    return Number((await this.says(/^\S+:(\d+)$/m))[1]);
  }
  async end(): Promise<number | undefined> {
    this.process.kill('SIGINT');
    return (await this.process).exitCode;
  }
}

/** A viewer. */
class Viewer {
  heard = Buffer.alloc(0);
  over = false;
  readonly socket: Socket;
  constructor(port: number, host = '127.0.0.1') {
    this.socket = connect(port, host);
    this.socket.on('data', (d: Buffer) => (this.heard = Buffer.concat([this.heard, d])));
    this.socket.on('error', () => undefined).on('close', () => (this.over = true));
  }
  hears(text: string): Promise<unknown> {
    return eventually(`it hears ${text}`, async () => this.heard.includes(text));
  }
  ends(): Promise<unknown> {
    return eventually('it is over', async () => this.over);
  }
}

it('leads viewers to the screen, many at once, each with its own ticket', async () => {
  const screen = new Screen({}, 'web');
  const port = await screen.port();
  // beside the port, which is for programs
  await screen.tells(/^The screen of web on h1, by VNC\. Connect a viewer: remote-viewer vnc:\/\/127\.0\.0\.1:\d+/);
  const viewers = Array.from({ length: 5 }, () => new Viewer(port));
  await Promise.all(viewers.map((v) => v.hears('RFB 003.008\n')));
  await Promise.all(
    viewers.map((v, i) => {
      v.socket.write(`I am ${i}`);
      return v.hears(`I am ${i}`);
    }),
  );
  viewers[0]?.socket.destroy();
  viewers[1]?.socket.write('still');
  await viewers[1]?.hears('still');
  expect(await screen.end()).toBe(130);
  await viewers[1]?.ends();
});

it('is over when the VM stops, and says so', async () => {
  const screen = new Screen({}, 'db');
  const viewer = new Viewer(await screen.port());
  await viewer.hears('RFB');
  await c.ok('vm', 'stop', 'db', '--force');
  await viewer.ends();
  expect((await screen.process).exitCode).toBe(0);
  await screen.tells(/^db is stopped\.$/m);
  expect(await c.berth('vm', 'vnc', 'db')).toMatchObject({
    code: 4,
    err: 'berth: vm db is stopped on h1. Start it first (berth vm start db).',
  });
});

it('refuses a kind of display that the VM has not, with the way out', async () => {
  const r = await c.berth('vm', 'spice', 'web');
  expect([r.code, r.err]).toEqual([4, expect.stringMatching(/^berth: vm web has no spice display/)]);
});

it('listens on this machine alone unless it is told otherwise', async () => {
  const others = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter((a) => a.family === 'IPv4' && !a.internal);
  const here = new Screen({}, 'web');
  const port = await here.port();
  for (const { address } of others) {
    const stranger = new Viewer(port, address);
    await stranger.ends();
    expect(stranger.heard).toHaveLength(0);
  }
  await here.end();
  const everywhere = new Screen({}, 'web', '--listen', '0.0.0.0:0');
  const open = await everywhere.port();
  await everywhere.says(/Anybody who can connect/);
  for (const { address } of others) await new Viewer(open, address).hears('RFB');
  await everywhere.end();
  for (const bad of ['127.0.0.1:99999', 'a b', ':1', '127.0.0.1:x'])
    expect((await c.berth('vm', 'vnc', 'web', '--listen', bad)).code).toBe(2);
});

it('opens a viewer and ends with it; without one it says how to get one', async () => {
  const bin = join(c.dir, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'remote-viewer'), `#!/bin/sh\necho "viewer got $1" >&2\nexit 0\n`);
  chmodSync(join(bin, 'remote-viewer'), 0o755);
  const screen = new Screen({ PATH: `${bin}:/usr/bin:/bin` }, 'web', '--open');
  expect((await screen.process).exitCode).toBe(0);
  await screen.says(/viewer got vnc:\/\/127\.0\.0\.1:\d+/);
  const none = await c.berthWith({ env: { PATH: '/nonexistent' } }, 'vm', 'vnc', 'web', '--open');
  expect([none.code, none.err]).toEqual([
    1,
    expect.stringMatching(/no viewer is installed here .*apt-get install virt-viewer/),
  ]);
});

it('comes back with the next viewer when the controller was away', async () => {
  const screen = new Screen({}, 'web');
  const port = await screen.port();
  const before = new Viewer(port);
  await before.hears('RFB');
  await c.controller.restart('SIGKILL');
  await before.ends();
  await eventually('a viewer gets through', async () => {
    const v = new Viewer(port);
    await Promise.race([v.hears('RFB'), v.ends()]);
    v.socket.destroy();
    return v.heard.includes('RFB');
  });
  await screen.end();
});

it('tells nobody the ticket: not the log, not the audit log, not events', async () => {
  const told = [c.controller.output, c.agents.get('h1')?.output, await c.ok('audit', 'list', '-o', 'json')].join('');
  expect(told).toMatch(/DisplayService\.CreateDisplayTicket/);
  expect(told).not.toMatch(/(?<![\w-])(?![0-9a-f]+\b)[\w-]{43}(?![\w-])/); // 32 random bytes in base64url
});

it('does not take more of a screen than its viewer reads', async () => {
  const screen = new Screen({}, 'web');
  const viewer = new Viewer(await screen.port());
  await viewer.hears('RFB');
  viewer.socket.pause();
  // the guest gives back what it gets: a viewer that sends and does not read is stopped by its own connection
  let sent = 0;
  const piece = Buffer.alloc(1 << 20, 'x');
  const fill = (): boolean => {
    for (;;) {
      const more = viewer.socket.write(piece);
      sent += piece.length;
      if (!more) return viewer.socket.writableLength > 32 * piece.length;
    }
  };
  await eventually('the connection is full', async () => fill());
  const held = sent - viewer.socket.writableLength;
  expect(held).toBeLessThan(48 * 2 ** 20);
  viewer.socket.destroy();
  await screen.end();
});
