/**
 * Bodies that mean harm, or nothing, to every method over both borders, a hundred thousand of them: each gets one clear
 * answer, and somebody else's calls go on as if nothing happened.
 */
import { readFileSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { status as Status } from '@grpc/grpc-js';
import { AUTHORISATION } from '@berth/controller/api/authorisation.ts';
import { HTTP_ROUTES } from '@berth/proto/http.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Cluster } from '../harness/cluster.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { jsonBody, nameOf, protoBody, queryOf } from '../harness/fuzz/bodies.ts';
import { fuzzConfig } from '../harness/fuzz/config.ts';
import { Operator } from '../harness/operator.ts';
import { Lane, type Answer } from '../harness/lane.ts';
import { eventually } from '../harness/processes.ts';

const MIB = 2 ** 20;
const { cases, seed } = fuzzConfig(100_000);
/** What no answer may tell. */
const INSIDES = /\n\s+at |node:internal|\.ts:\d|\.js:\d|\bError:|\[object|internal error/;
/** On a machine that is many times slower than ours. */
const TIMEOUT_MS = 60_000 + cases * 6;
const AT_ONCE = 200;
const LANES = 32;
let c: Cluster;
let op: Operator;
let token: string;
let ca: string;
let rssBefore: number;
let bystander: Bystander;

beforeAll(async () => {
  console.log(`fuzz: ${cases} cases, seed ${seed} (again: FUZZ_SEED=${seed})`);
  // one caller sends it all: its share is wide, so that bodies are judged and not the number of calls
  c = await Cluster.start('127.0.0.1', { config: 'limits: { requestsPerSecond: 1000000, burst: 1000000 }\n' });
  await c.addSimulated('quiet-host');
  await c.waitUp('quiet-host');
  op = await Operator.of(c);
  expect(await op.outcome(op.create('bystander'))).toBe('succeeded');
  expect(await op.outcome(op.start('bystander'))).toBe('succeeded');
  token = decodeLoginLine(readFileSync(join(c.dataDir, 'admin-token'), 'utf8')).token;
  ca = readFileSync(join(c.dataDir, 'trust/ca.pem'), 'utf8');
  rssBefore = rss();
  bystander = new Bystander();
});
afterAll(async () => {
  if (c && /^Node\.js v/m.test(c.controller.output)) console.log(c.controller.output.slice(-5_000));
  op?.close();
  await c?.stop();
});

const rss = (): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${c.controller.pid}/status`, 'utf8'))?.[1]) * 1024;

/** Somebody who works while others misbehave: every call of theirs must do what it says. */
class Bystander {
  calls = 0;
  #stop = false;
  readonly #done: Promise<void> = this.#work();

  async #work(): Promise<void> {
    while (!this.#stop) {
      const vm = await op.api.call(op.api.vms, (x) => x.getVm, { vm: 'bystander' });
      if (vm.name !== 'bystander') throw new Error(`another vm: ${vm.name}`);
      this.calls++;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  async stop(): Promise<void> {
    this.#stop = true;
    await this.#done;
  }
}

/** The first few that are not as they should be. */
class Verdict {
  readonly bad: string[] = [];
  readonly seen = new Map<number, number>();
  add(code: number, ok: boolean, words: string, of: () => string): void {
    this.seen.set(code, (this.seen.get(code) ?? 0) + 1);
    if (ok && !INSIDES.test(words)) return;
    if (this.bad.length < 5) this.bad.push(`${code} ${words.slice(0, 300)} ← ${of().slice(0, 400)}`);
  }
}

describe(`${cases} fuzzed bodies`, () => {
  it(
    'as JSON are answered or refused, with an error that a program can read',
    async () => {
      const random = seeded(seed);
      const routes = HTTP_ROUTES.filter((r) => r.kind === 'json');
      const [host = '', port] = c.httpAddress.split(':');
      const verdict = new Verdict();
      const check = (a: Answer, of: () => string) => {
        const ok = a.status < 500 || a.status === 501 || a.status === 503;
        verdict.add(a.status, ok, a.status === 200 ? '' : lineOf(a), of);
      };
      let done = 0;
      const work = async (lane: Lane): Promise<void> => {
        while (done < cases / 2) {
          const route = routes[done++ % routes.length]!;
          const bodiless = route.verb === 'GET' || route.verb === 'DELETE';
          const path = route.path.replace(/\{\w+\}/g, () => nameOf(random));
          const url = bodiless ? `${path}${queryOf(random)}` : path;
          const body = bodiless ? undefined : jsonBody(random);
          check(await lane.ask(route.verb, url, body), () => `${route.verb} ${url} ${body?.toString() ?? ''}`);
        }
        lane.close();
      };
      await Promise.all(Array.from({ length: LANES }, () => work(new Lane({ host, port: Number(port), ca, token }))));
      expect(verdict.bad).toEqual([]);
      expect(verdict.seen.get(400)).toBeGreaterThan(cases / 10);
      expect([...verdict.seen.keys()]).not.toContain(401);
      expect([...verdict.seen.keys()]).not.toContain(429);
    },
    TIMEOUT_MS,
  );

  it(
    'as proto messages get one status each',
    async () => {
      const random = seeded(seed + 1);
      const methods = Object.keys(AUTHORISATION).filter((m) => /^\/berth\..*\/(?!Watch|Open|Read|Upload)/.test(m));
      const session = connectHttp2(`https://${c.address}`, { ca, checkServerIdentity: () => undefined });
      session.on('error', () => undefined);
      const verdict = new Verdict();
      for (let done = 0; done < cases / 2; done += AT_ONCE)
        await Promise.all(
          Array.from({ length: AT_ONCE }, async (_, i) => {
            const method = methods[(done + i) % methods.length]!;
            const body = protoBody(random);
            const { code, message } = await askGrpc(session, method, body);
            const ok = code >= 0 && code !== Status.UNKNOWN && !/requests a second/.test(message);
            verdict.add(code, ok, message, () => `${method} ${body.toString('hex')}`);
          }),
        );
      session.destroy();
      expect(verdict.bad).toEqual([]);
      expect(verdict.seen.size).toBeGreaterThan(2);
    },
    TIMEOUT_MS,
  );

  it('have done nothing to anybody else', async () => {
    await bystander.stop();
    expect(bystander.calls).toBeGreaterThan(10);
    const vm = await op.api.call(op.api.vms, (x) => x.getVm, { vm: 'bystander' });
    expect([vm.host, vm.stateReason]).toEqual(['quiet-host', '']);
    expect(await op.outcome(op.stop('bystander'))).toBe('succeeded');
    await eventually('memory is given back', async () => rss() < rssBefore + 200 * MIB, 15_000);
    expect(c.controller.running).toBe(true);
    expect(c.controller.output).not.toMatch(/uncaught|UnhandledPromise|failed unexpectedly/i);
  });
});

/** The words of an error, which must be one line of an object of ours. */
function lineOf(a: Answer): string {
  try {
    const { error } = JSON.parse(a.body) as { error: { message: string; traceId: string } };
    return error.traceId === '' ? 'Error: no trace id' : error.message;
  } catch {
    return `Error: not our JSON: ${a.body}`;
  }
}

function askGrpc(
  session: ClientHttp2Session,
  path: string,
  body: Buffer,
): Promise<{ readonly code: number; readonly message: string }> {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return new Promise((resolve) => {
    const stream = session.request({
      ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' },
      authorization: `Bearer ${token}`,
    });
    let code = -1;
    let message = '';
    const take = (h: Record<string, unknown>) => {
      if (h['grpc-status'] !== undefined) code = Number(h['grpc-status']);
      if (h['grpc-message'] !== undefined) message = decodeURIComponent(String(h['grpc-message']));
    };
    stream
      .on('response', take)
      .on('trailers', take)
      .on('error', () => undefined)
      .on('data', () => undefined);
    stream.on('close', () => resolve({ code, message }));
    stream.end(Buffer.concat([head, body]));
  });
}
