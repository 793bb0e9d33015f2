/**
 * Callers that mean harm, or are broken: the controller answers each with one clear status, stays up, and does not grow.
 * No answer tells of its insides.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';
import { join } from 'node:path';
import { connect } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { credentials, status as Status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AUTHORISATION } from '@berth/controller/api/authorisation.ts';
import { EnrollmentServiceClient } from '@berth/proto/v1/enrollment.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { fetchPinnedCa } from '@berth/shared/trust/pin.ts';
import { Cluster } from '../harness/cluster.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { Operator } from '../harness/operator.ts';
import { eventually } from '../harness/processes.ts';

const METHODS = Object.keys(AUTHORISATION).filter((m) => m.startsWith('/berth.'));
const MIB = 2 ** 20;
let c: Cluster;
let op: Operator;
let ca: string;
let token: string;
let rssBefore: number;
const sessions: ClientHttp2Session[] = [];
const sockets: TLSSocket[] = [];

beforeAll(async () => {
  c = await Cluster.start();
  op = await Operator.of(c);
  const login = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8'));
  ca = await fetchPinnedCa(c.address, login.caPin);
  token = login.token;
  rssBefore = rss();
});
afterAll(async () => {
  for (const s of sessions) s.destroy();
  for (const s of sockets) s.destroy();
  op?.close();
  await c?.stop();
});

const rss = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${c.controller.pid}/status`, 'utf8'))?.[1]) * 1024;
const tls = () => ({ ca, checkServerIdentity: () => undefined, ALPNProtocols: ['h2'] });

function session(): ClientHttp2Session {
  const made = connectHttp2(`https://${c.address}`, tls());
  made.on('error', () => undefined);
  sessions.push(made);
  return made;
}

interface Answer {
  readonly code: number;
  readonly message: string;
}

/** One request of raw bytes; `open` leaves it without an end. */
function ask(
  on: ClientHttp2Session,
  path: string,
  body: Buffer,
  headers: Record<string, string> = {},
): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = on.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${token}`,
      'grpc-timeout': '2S',
      ...headers,
    });
    const got: Record<string, unknown> = {};
    stream.on('response', (h) => Object.assign(got, h)).on('trailers', (h) => Object.assign(got, h));
    stream.on('error', () => undefined).on('data', () => undefined);
    stream.on('close', () =>
      resolve({
        code: Number(got['grpc-status'] ?? -1),
        message: decodeURIComponent(String(got['grpc-message'] ?? '')),
      }),
    );
    stream.end(body);
  });
}

/** As gRPC frames a message. */
function framed(message: Buffer, said = message.length): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(said, 1);
  return Buffer.concat([head, message]);
}

const INSIDES = /\n\s+at |node:internal|\.ts:|\.js:\d|Error:|undefined|\[object/;
async function alive(): Promise<void> {
  expect((await c.berth('host', 'list')).code).toBe(0);
}
function expectClear(answers: readonly Answer[]): void {
  const bad = answers.filter((a) => a.code === Status.OK || INSIDES.test(a.message) || /trace/.test(a.message));
  expect(bad.slice(0, 5)).toEqual([]);
}

it('random bytes, wrong types, cut frames and huge texts get one clear status each', async () => {
  const random = seeded(3);
  const s = session();
  const answers: Answer[] = [];
  const wrongType = Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]); // a text of 4 GiB
  for (const path of METHODS) {
    const bodies = [
      framed(randomBytes(1 + Math.floor(random() * 200))),
      framed(wrongType),
      framed(Buffer.alloc(10), 1_000),
      framed(Buffer.alloc(10), 2 ** 31),
      Buffer.from([1, 0, 0, 0, 1, 7]), // compressed, it says
      randomBytes(50),
    ];
    answers.push(...(await Promise.all(bodies.map((b) => ask(s, path, b)))));
  }
  const told = answers.filter(
    (a) => INSIDES.test(a.message) || (a.code === Status.INTERNAL && /trace/.test(a.message)),
  );
  expect(told.slice(0, 5)).toEqual([]);
  const text = Buffer.alloc(3 * MIB, 'a');
  const name = Buffer.concat([Buffer.from([0x0a, 0x80, 0x80, 0xc0, 0x01]), text]);
  const huge = await Promise.all(
    METHODS.filter((m) => m.endsWith('GetVm') || m.endsWith('GetHost')).map((m) => ask(s, m, framed(name))),
  );
  expectClear(huge);
  for (const a of huge) expect(a.message.length).toBeLessThan(1_000);
  await alive();
});

it('a message over the limit is refused before it is read', async () => {
  const answers = await Promise.all(
    ['CloneVm', 'GetVm'].map((m) => ask(session(), `/berth.v1.VmService/${m}`, framed(Buffer.alloc(5 * MIB)))),
  );
  expect(answers.map((a) => a.code)).toEqual([Status.RESOURCE_EXHAUSTED, Status.RESOURCE_EXHAUSTED]);
});

it('10,000 requests of garbage over one connection', async () => {
  const s = session();
  let codes = new Set<number>();
  for (let round = 0; round < 50; round++) {
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        ask(s, METHODS[i % METHODS.length]!, framed(randomBytes(40)), { authorization: 'Bearer x' }),
      ),
    );
    codes = new Set([...codes, ...answers.map((a) => a.code)]);
  }
  expect(codes.has(Status.OK)).toBe(false);
  await alive();
});

it('tokens that are wrong, ended or forged open nothing', async () => {
  const made = await op.api.call(op.api.tokens, (x) => x.createToken, {
    user: 'eve',
    role: 'viewer',
    lifetimeMs: 0n,
    description: '',
  });
  const id = made.secret.split('.')[0] ?? '';
  await op.api.call(op.api.tokens, (x) => x.deleteToken, { token: id });
  const s = session();
  const given = [
    '',
    'Bearer',
    `Bearer ${made.secret}`,
    `Bearer ${token.split('.')[0]}.AAAA`,
    `Bearer ${token}x`,
    'x'.repeat(4_000),
  ];
  for (const authorization of given) {
    const a = await ask(s, '/berth.v1.VmService/ListVms', framed(Buffer.alloc(0)), { authorization });
    expect([authorization.slice(0, 20), a.code]).toEqual([authorization.slice(0, 20), Status.UNAUTHENTICATED]);
  }
});

it('a flood of enrolments with guessed tokens is refused, and the rest goes on', async () => {
  const client = new EnrollmentServiceClient(
    c.address,
    credentials.createSsl(Buffer.from(ca), null, null, { checkServerIdentity: () => undefined }),
    { 'grpc.ssl_target_name_override': 'controller' }, // an address is no name for a TLS handshake
  );
  const csrPem = 'x'.repeat(100_000);
  const codes = await Promise.all(
    Array.from(
      { length: 500 },
      (_, i) =>
        new Promise<number>((resolve) =>
          client.enroll({ tokenId: `token-${i}`, tokenSecret: 'guess', csrPem, transferCsrPem: '' }, (e) =>
            resolve(e?.code ?? 0),
          ),
        ),
    ),
  );
  client.close();
  expect(new Set(codes)).toEqual(new Set([Status.UNAUTHENTICATED]));
  await alive();
});

it('streams that are opened and never read, or never ended, hold nothing up', async () => {
  const s = session();
  const streams: ClientHttp2Stream[] = [];
  for (let i = 0; i < 300; i++) {
    const path = i % 2 === 0 ? '/berth.v1.EventService/WatchEvents' : '/berth.v1.ImageService/UploadImage';
    const stream = s.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers',
      authorization: `Bearer ${token}`,
    });
    stream.on('error', () => undefined);
    if (i % 2 === 0) stream.end(framed(Buffer.from([0x08, 0x01])));
    else stream.write(framed(Buffer.alloc(0)));
    streams.push(stream);
  }
  for (let i = 0; i < 50; i++)
    await op.api.call(op.api.hosts, (x) => x.createHost, { name: `n${i}`, address: `10.9.0.${i}:7444`, labels: {} });
  await alive();
  for (const stream of streams) stream.destroy();
});

it('connections that say nothing after the handshake, or before it, hold nothing up', async () => {
  const [host, port] = c.address.split(':');
  for (let i = 0; i < 100; i++) {
    const socket = connectTls({ host, port: Number(port), ...tls() });
    socket.on('error', () => undefined);
    if (i % 2 === 0) socket.once('secureConnect', () => socket.write(randomBytes(100)));
    socket.resume(); // who does not read does not see the end
    sockets.push(socket);
  }
  const bare = Array.from({ length: 50 }, () => connect(Number(port), host).resume());
  for (const socket of bare) socket.on('error', () => undefined);
  const idle = session();
  idle.on('stream', () => undefined);
  await alive();
  await eventually('those that begin no handshake are closed', async () => bare.every((s) => s.closed), 60_000);
  // half-open: the other side of these is gone, for all that the controller can know, and answers no ping
  const silent = sockets.slice();
  await eventually('they are closed in time', async () => silent.every((s) => s.closed), 90_000);
  expect(idle.closed).toBe(false);
  await alive();
}, 120_000);

it('and its memory is bounded', async () => {
  for (const s of sessions.splice(0)) s.destroy();
  for (const s of sockets.splice(0)) s.destroy();
  const given = async (): Promise<boolean> => {
    await alive(); // an idle process collects nothing
    return rss() < rssBefore + 256 * MIB;
  };
  await eventually('memory is given back', given, 15_000);
  expect(c.controller.running).toBe(true);
  expect(c.controller.output).not.toMatch(/uncaught|UnhandledPromise|failed unexpectedly/i);
});
