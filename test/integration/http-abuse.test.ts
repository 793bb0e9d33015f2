/**
 * Callers of the JSON API that are slow, silent, too many or too loud: each is cut off by its limit, and a bystander's calls
 * go on. What needs shorter limits than the controller's own is tested beside the code (controller/src/api/http).
 */
import { readFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Cluster } from '../harness/cluster.ts';
import { Lane, type Target } from '../harness/lane.ts';
import { eventually } from '../harness/processes.ts';

const MIB = 2 ** 20;
let c: Cluster;
let target: Target;
let bystander: Lane;
let rssBefore: number;
const open: (Socket | TLSSocket)[] = [];

beforeAll(async () => {
  c = await Cluster.start();
  const [host = '', port] = c.httpAddress.split(':');
  const { token } = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'));
  target = { host, port: Number(port), ca: readFileSync(join(c.dataDir, 'trust/ca.pem'), 'utf8'), token };
  bystander = new Lane(target);
  await alive();
  rssBefore = rss();
});
afterAll(async () => {
  for (const s of open) s.destroy();
  bystander?.close();
  await c?.stop();
});

const rss = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${c.controller.pid}/status`, 'utf8'))?.[1]) * 1024;

async function alive(): Promise<void> {
  expect((await bystander.ask('GET', '/v1/hosts?pageSize=10')).status).toBe(200);
}

interface Held {
  readonly socket: Socket | TLSSocket;
  said: string;
  closed: boolean;
}

function hold(socket: Socket | TLSSocket): Held {
  const held: Held = { socket, said: '', closed: false };
  socket.on('error', () => undefined).on('close', () => (held.closed = true));
  socket.on('data', (d: Buffer) => (held.said = (held.said + d.toString()).slice(0, 10_000)));
  open.push(socket);
  return held;
}

const tls = (): TLSSocket => connectTls({ ...target, checkServerIdentity: () => undefined });

/** A request as far as it goes. */
async function begin(text: string): Promise<Held> {
  const socket = tls();
  const held = hold(socket);
  await new Promise<void>((resolve) => socket.once('secureConnect', resolve));
  socket.write(text);
  return held;
}

const authorised = (first: string, ...headers: string[]): string =>
  [first, 'host: berth', `authorization: Bearer ${target.token}`, ...headers].join('\r\n');

it('connections that never end their headers, or never say anything, are closed in time, and hold nobody up', async () => {
  const silent = Array.from({ length: 100 }, () => hold(connectTcp(target)));
  const mute = await Promise.all(Array.from({ length: 50 }, () => begin('')));
  const slow = await Promise.all(
    Array.from({ length: 150 }, () => begin(authorised('GET /v1/vms HTTP/1.1', 'x-slow: '))),
  );
  let going = true;
  const drip = (async () => {
    while (going) {
      for (const { socket, closed } of slow) if (!closed && socket.writable) socket.write('a');
      await alive();
      await systemClock.sleep(20); // the pace of the drip
    }
  })();
  try {
    await eventually('all are closed', async () => [...silent, ...mute, ...slow].every((h) => h.closed), 60_000);
  } finally {
    going = false;
    await drip;
  }
  const words = slow.map((h) => h.said.split('\r\n')[0]);
  expect(words.filter((w) => w === 'HTTP/1.1 408 Request Timeout').length).toBeGreaterThan(0);
}, 120_000);

it('headers and bodies without end are refused, and what they send is not kept', async () => {
  const long = await begin(authorised('GET /v1/vms HTTP/1.1', `x-long: ${'a'.repeat(100_000)}`));
  await eventually('refused', async () => long.said.startsWith('HTTP/1.1 431'));
  const pieces = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(0x10000, ' '), Buffer.from('\r\n')]);
  const endless = await Promise.all(
    Array.from({ length: 20 }, () =>
      begin(
        `${authorised('POST /v1/vms HTTP/1.1', 'content-type: application/json', 'transfer-encoding: chunked')}\r\n\r\n`,
      ),
    ),
  );
  const pour = (socket: Socket): void => {
    if (socket.writable) socket.write(pieces, () => pour(socket));
  };
  for (const { socket } of endless) pour(socket);
  await eventually('all are cut', async () => endless.every((h) => h.closed), 30_000);
  await alive();
});

it('what is no HTTP gets one line', async () => {
  for (const text of [
    '\u0000\u0001\u0002\r\n\r\n',
    'GET\r\n\r\n',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    `GET ${'/'.repeat(50_000)} HTTP/1.1\r\n\r\n`,
  ]) {
    const held = await begin(text);
    await eventually('refused', async () => /^HTTP\/1\.1 4\d\d /.test(held.said) && held.closed);
    expect(held.said).not.toMatch(/\.js|Error/);
  }
  const plain = hold(connectTcp(target));
  plain.socket.write('GET /healthz HTTP/1.1\r\nhost: berth\r\n\r\n');
  await eventually('closed', async () => plain.closed);
  expect(plain.said).not.toContain('200');
});

it('smuggled requests are not taken apart in two ways', async () => {
  for (const headers of [
    ['content-length: 5', 'transfer-encoding: chunked'],
    ['content-length: 5', 'content-length: 6'],
    ['transfer-encoding: chunked, identity'],
  ]) {
    const held = await begin(
      `${authorised('POST /v1/vms HTTP/1.1', ...headers)}\r\n\r\n0\r\n\r\nGET /v1/tokens HTTP/1.1\r\n\r\n`,
    );
    await eventually('refused', async () => held.said !== '' && held.closed);
    expect(held.said).toMatch(/^HTTP\/1\.1 4/);
    expect(held.said).not.toContain('"tokens"');
  }
});

it('watchers that never read hold nothing up, nor grow the controller', async () => {
  const watchers = await Promise.all(
    Array.from({ length: 200 }, () => begin(`${authorised('GET /v1/events:watch?afterRevision=1 HTTP/1.1')}\r\n\r\n`)),
  );
  for (const { socket } of watchers) socket.pause();
  for (let i = 0; i < 100; i++) {
    const host = Buffer.from(JSON.stringify({ name: `n${i}`, address: `10.9.0.${i}:7444`, labels: {} }));
    expect((await bystander.ask('POST', '/v1/hosts', host)).status).toBe(200);
  }
  await alive();
  for (const { socket } of watchers) socket.destroy();
});

it('and its memory is bounded', async () => {
  await eventually('memory is given back', async () => rss() < rssBefore + 150 * MIB, 15_000);
  expect(c.controller.running).toBe(true);
  expect(c.controller.output).not.toMatch(/uncaught|UnhandledPromise|failed unexpectedly/i);
});
