/**
 * Mixed reads of the public API at a steady thousand a second, with a hundred watchers and somebody who changes things: over
 * HTTP, over gRPC, and the raw tool (a bare HTTPS server of Node with an answer of the same size) under the same load.
 * Times run from when a request was due, so that a server that stalls is not spared the requests of that moment.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import type { Api } from '@berth/controller/cli/core/api.ts';
import { loadIdentity, paths } from '@berth/controller/trust/identity.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { freePort } from '../harness/cluster.ts';
import { Lane, type Target } from '../harness/lane.ts';
import { Daemon, eventually } from '../harness/processes.ts';
import { serving, withInstallation, type Installation } from './controller.ts';
import { between, costOf, type Use } from './process-cost.ts';
import { mib, ms, perSecond, remark, table, type Row, type Say } from './report.ts';
import { fill } from './state.ts';

const HOSTS = 100;
const VMS = 10_000;
const RATE = 1_000;
const FOR_MS = 20_000;
const LANES = 64;
const WATCHERS = 100;
const CHANGES_PER_SECOND = 20;
const TICK_MS = 5;

type Ask = (n: number) => Promise<unknown>;

interface Measured {
  readonly latencies: number[];
  readonly failed: number;
  /** From the first request to the last answer. */
  readonly use: Use;
}

export async function httpTopic(say: Say): Promise<void> {
  const names: { vms: string[]; hosts: string[] } = { vms: [], hosts: [] };
  await withInstallation(
    async (state) => {
      const made = await fill(state, HOSTS, VMS, (i) => `127.1.0.${i & 255}:9`); // each refuses at once
      names.vms = made.map((v) => v.name);
      names.hosts = [...state.tables.hosts.values()].map((h) => h.name);
    },
    async (installation) => {
      installation.daemon.start();
      await serving(installation.daemon);
      const target = targetOf(installation);
      const raw = await rawServer(installation, target);
      const watchers = Array.from({ length: WATCHERS }, () => new Watcher(target));
      await Promise.all(watchers.map((w) => w.begun));
      const stop = changing(new Lane(target), names.hosts[0] ?? '');
      const pid = installation.daemon.pid ?? 0;
      const http = await overHttp(target, names, pid);
      const grpc = await overGrpc(installation.api(), names, pid);
      await stop();
      report(say, { raw, http, grpc }, watchers);
      for (const w of watchers) w.close();
    },
  );
}

function targetOf({ dataDir, httpAddress }: Installation): Target {
  const { token } = decodeLoginLine(readFileSync(paths(dataDir).adminToken, 'utf8').trim());
  const [host = '', port] = httpAddress.split(':');
  return { host, port: Number(port), ca: readFileSync(paths(dataDir).caCertificate, 'utf8'), token };
}

/** Requests when they are due, whether or not those before them have been answered. */
async function steadily(ask: Ask, pid: number): Promise<Measured> {
  const latencies: number[] = [];
  const open = new Set<Promise<void>>();
  let failed = 0;
  const before = await costOf(pid);
  const began = performance.now();
  for (let n = 0; n < (RATE * FOR_MS) / 1000;) {
    const elapsed = performance.now() - began;
    for (; (n * 1000) / RATE <= elapsed && n < (RATE * FOR_MS) / 1000; n++) {
      const due = began + (n * 1000) / RATE;
      const call: Promise<void> = ask(n).then(
        () => void latencies.push(performance.now() - due),
        () => void failed++,
      );
      open.add(call);
      void call.finally(() => open.delete(call));
    }
    await systemClock.sleep(TICK_MS);
  }
  await Promise.all(open);
  return { latencies, failed, use: between(before, await costOf(pid)) };
}

/** Of a hundred: 60 one VM, 15 one host, 15 a page of VMs, 5 jobs, 5 the controller. */
const MIX = (n: number): 'vm' | 'host' | 'page' | 'jobs' | 'controller' => {
  const k = (n * 37) % 100;
  return k < 60 ? 'vm' : k < 75 ? 'host' : k < 90 ? 'page' : k < 95 ? 'jobs' : 'controller';
};

interface Names {
  readonly vms: readonly string[];
  readonly hosts: readonly string[];
}

function overHttp(target: Target, { vms, hosts }: Names, pid: number): Promise<Measured> {
  const pathOf = (n: number): string =>
    ({
      vm: `/v1/vms/${vms[(n * 7919) % vms.length]}`,
      host: `/v1/hosts/${hosts[n % hosts.length]}`,
      page: '/v1/vms?pageSize=50',
      jobs: '/v1/jobs?pageSize=50',
      controller: '/v1/controller',
    })[MIX(n)];
  return inLanes(target, pathOf, pid);
}

async function inLanes(target: Target, pathOf: (n: number) => string, pid: number): Promise<Measured> {
  const lanes = Array.from({ length: LANES }, () => new Lane(target));
  const free = [...lanes];
  const waiting: ((lane: Lane) => void)[] = [];
  const take = (): Promise<Lane> => {
    const lane = free.pop();
    return lane ? Promise.resolve(lane) : new Promise((resolve) => waiting.push(resolve));
  };
  const give = (lane: Lane): void => {
    const next = waiting.shift();
    if (next) next(lane);
    else free.push(lane);
  };
  const measured = await steadily(async (n) => {
    const lane = await take();
    try {
      const { status } = await lane.ask('GET', pathOf(n));
      if (status !== 200) throw new Error(String(status));
    } finally {
      give(lane);
    }
  }, pid);
  for (const lane of lanes) lane.close();
  return measured;
}

async function overGrpc(api: Api, { vms, hosts }: Names, pid: number): Promise<Measured> {
  const page = { pageSize: 50, pageToken: '' };
  const asks: Readonly<Record<ReturnType<typeof MIX>, Ask>> = {
    vm: (n) => api.call(api.vms, (c) => c.getVm, { vm: vms[(n * 7919) % vms.length] ?? '' }),
    host: (n) => api.call(api.hosts, (c) => c.getHost, { host: hosts[n % hosts.length] ?? '' }),
    page: () => api.call(api.vms, (c) => c.listVms, { page, host: '' }),
    jobs: () => api.call(api.jobs, (c) => c.listJobs, { page, openOnly: false }),
    controller: () => api.call(api.controller, (c) => c.getController, {}),
  };
  try {
    return await steadily((n) => asks[MIX(n)](n), pid);
  } finally {
    api.close();
  }
}

/** A bare HTTPS server of Node with the controller's certificate: every answer a text of the size of one VM's. */
const RAW_SERVER = `
import { createServer } from 'node:https';
import { readFileSync } from 'node:fs';
const [, , key, cert, port] = process.argv;
const body = JSON.stringify({ text: 'x'.repeat(800) });
const headers = { 'content-type': 'application/json', 'content-length': body.length };
createServer({ key: readFileSync(key), cert: readFileSync(cert), minVersion: 'TLSv1.3' }, (_, res) => {
  res.writeHead(200, headers);
  res.end(body);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
`;

async function rawServer({ dir, dataDir }: Installation, target: Target): Promise<Measured> {
  const file = join(dir, 'raw.mjs');
  writeFileSync(file, RAW_SERVER);
  const port = await freePort('127.0.0.1');
  const { keyPem, chainPem } = await loadIdentity(dataDir, systemClock.now());
  const [key, chain] = [join(dir, 'raw-key.pem'), join(dir, 'raw-chain.pem')];
  writeFileSync(key, keyPem);
  writeFileSync(chain, chainPem);
  const server = new Daemon(file, [key, chain, String(port)]);
  server.start();
  try {
    await eventually('the raw server listens', async () => server.output.includes('ready'));
    return await inLanes({ ...target, port }, () => '/', server.pid ?? 0);
  } finally {
    await server.end('SIGKILL');
  }
}

/** Makes events for those who watch. @returns what ends it. */
function changing(lane: Lane, host: string): () => Promise<void> {
  let going = true;
  const done = (async () => {
    for (let n = 0; going; n++) {
      await lane.ask('POST', `/v1/hosts/${host}:${n % 2 === 0 ? 'drain' : 'resume'}`, Buffer.from('{}'));
      await systemClock.sleep(1000 / CHANGES_PER_SECOND);
    }
    lane.close();
  })();
  return () => {
    going = false;
    return done;
  };
}

/** Reads /v1/events:watch and notes how old each event is when it comes. */
class Watcher {
  readonly agesMs: number[] = [];
  readonly begun: Promise<void>;
  readonly #socket: TLSSocket;
  #rest = '';

  constructor({ host, port, ca, token }: Target) {
    this.#socket = connect({ host, port, ca, checkServerIdentity: () => undefined });
    this.#socket.write(
      `GET /v1/events:watch HTTP/1.1\r\nhost: berth\r\nauthorization: Bearer ${token}\r\naccept: text/event-stream\r\n\r\n`,
    );
    this.#socket.on('error', () => undefined);
    this.begun = new Promise((resolve) => this.#socket.once('data', () => resolve()));
    this.#socket.on('data', (d: Buffer) => this.#take(d.toString()));
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const at = /^data: .*"atMs":"(\d+)"/.exec(line)?.[1];
      if (at !== undefined) this.agesMs.push(systemClock.now() - Number(at));
    }
  }
}

const at = (sorted: readonly number[], share: number): string =>
  ms(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN);

function row(name: string, { latencies, failed, use }: Measured): Row {
  const sorted = [...latencies].sort((a, b) => a - b);
  const rate = perSecond((1000 * latencies.length) / use.forMs);
  const each = `${Math.round((1000 * use.cpuMs) / latencies.length)} µs`;
  const cpu = `${use.cpuPercent.toFixed(0)} %`;
  return [name, rate, failed, at(sorted, 0.5), at(sorted, 0.99), at(sorted, 0.999), cpu, each, mib(use.rssBytes)];
}

function report(
  say: Say,
  r: { readonly raw: Measured; readonly http: Measured; readonly grpc: Measured },
  watchers: readonly Watcher[],
): void {
  table(
    say,
    `HTTP: ${RATE} mixed reads a second for ${FOR_MS / 1000} s, ${HOSTS} hosts, ${VMS} VMs, ${WATCHERS} watchers`,
    ['', 'answered', 'failed', 'p50', 'p99', 'p99.9', 'CPU', 'per call', 'memory'],
    [row('node:https alone, 800 bytes', r.raw), row('JSON over HTTPS', r.http), row('gRPC', r.grpc)],
  );
  const ages = watchers.flatMap((w) => w.agesMs).sort((a, b) => a - b);
  table(
    say,
    'HTTP: age of an event when a watcher has it',
    ['', 'events', 'p50', 'p99', 'max'],
    [[`${WATCHERS} watchers`, ages.length, at(ages, 0.5), at(ages, 0.99), at(ages, 1)]],
  );
  remark(
    say,
    'CPU is the server’s own, with what the watchers cost, of one core; callers and watchers share the machine with it',
  );
}
