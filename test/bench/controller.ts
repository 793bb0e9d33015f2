/**
 * The controller as a real process under the weight of a large installation: from start to serving with a full database,
 * and with two thousand agents that it really dials, over TLS.
 */
import { Sqlite } from '@berth/controller/state/sqlite/library.ts';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { openState } from '@berth/controller/state/open-state.ts';
import type { State } from '@berth/controller/state/state.ts';
import { paths } from '@berth/controller/trust/identity.ts';
import { HostState } from '@berth/proto/v1/host.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { readFileSync } from 'node:fs';
import { freePort } from '../harness/cluster.ts';
import { Daemon, eventually, PROGRAMS, run, temporaryDirectory } from '../harness/processes.ts';
import type { FleetConfig, FleetHost } from './fleet.ts';
import { costOf, useOf, type Cost } from './process-cost.ts';
import { FLEET, WORKER_FILE } from './programs.ts';
import { mib, ms, remark, table, timed, type Row, type Say } from './report.ts';
import { fill } from './state.ts';

const LARGE = { hosts: 10_000, vms: 300_000 };
const FLEETS = 2;
const AGENTS = 2_000;
const VMS_PER_AGENT = 10;
const FIRST_PORT = 20_000;
const IDLE_MS = 60_000;

export async function controllerTopic(say: Say): Promise<void> {
  await largeStart(say);
  await manyAgents(say);
}

export interface Installation {
  readonly dir: string;
  readonly dataDir: string;
  /** host:port of the JSON API. */
  readonly httpAddress: string;
  readonly daemon: Daemon;
  api(): Api;
}

/** Fills a fresh installation before its controller starts, and removes it afterwards. */
export async function withInstallation(
  prepare: (state: State) => Promise<void>,
  work: (i: Installation) => Promise<void>,
): Promise<void> {
  const { path: dir, remove } = temporaryDirectory();
  const dataDir = join(dir, 'controller');
  const address = `127.0.0.1:${await freePort('127.0.0.1')}`;
  const httpAddress = `127.0.0.1:${await freePort('127.0.0.1')}`;
  const listen = ['--listen', address, '--http-listen', httpAddress];
  const config = join(dir, 'controller.yaml');
  writeFileSync(config, 'limits: { requestsPerSecond: 1000000, burst: 1000000 }\n'); // one caller asks it all
  const daemon = new Daemon(PROGRAMS.controller, ['run', '--config', config, '--data-dir', dataDir, ...listen]);
  try {
    const init = await run(PROGRAMS.controller, ['init', '--data-dir', dataDir, '--address', address]);
    if (init.code !== 0) throw new Error(init.err);
    const log = { error: () => {}, fatal: () => {} };
    const onFatal = (e: unknown): void => {
      throw e;
    };
    const state = await openState({
      path: paths(dataDir).database,
      clock: systemClock,
      log,
      onFatal,
      workerFile: WORKER_FILE,
    });
    await prepare(state);
    await state.close();
    await work({ dir, dataDir, httpAddress, daemon, api: () => apiAs(dataDir, address) });
  } finally {
    await daemon.end('SIGKILL');
    remove();
  }
}

function apiAs(dataDir: string, controller: string): Api {
  const { token } = decodeLoginLine(readFileSync(paths(dataDir).adminToken, 'utf8').trim());
  const ca = readFileSync(paths(dataDir).caCertificate, 'utf8');
  return createApi({ controller, ca, token }, () => systemClock.now());
}

async function largeStart(say: Say): Promise<void> {
  const nowhere = (i: number): string => `127.1.${i >> 8}.${i & 255}:9`; // each refuses at once
  await withInstallation(
    async (state) => void (await fill(state, LARGE.hosts, LARGE.vms, nowhere)),
    async ({ dataDir, daemon, api }) => {
      const { database } = paths(dataDir);
      const raw = await timed(() => Promise.resolve(readAll(database)));
      daemon.start();
      const started = await timed(async () => {
        await serving(daemon);
        await firstPage(api());
      });
      const cost = await costOf(daemon.pid ?? 0);
      table(
        say,
        `Controller start with ${LARGE.hosts} hosts and ${LARGE.vms} VMs`,
        ['', ''],
        [
          ['database', mib(statSync(database).size)],
          ['better-sqlite3 alone, reading every row', ms(raw.ms)],
          ['from start of the process to the first answer', ms(started.ms)],
          ['CPU until then', ms(cost.cpuMs)],
          ['memory', mib(cost.rssBytes)],
        ],
      );
      remark(
        say,
        `${daemon.output.split('\n').find((l) => l.includes(' ready on ')) ?? 'no ready line'}. Aim: under 5 s`,
      );
    },
  );
}

/** All rows of all tables as better-sqlite3 gives them, nothing done with them. */
function readAll(database: string): number {
  const db = new Sqlite(database, { readonly: true });
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[];
  let rows = 0;
  for (const name of tables) for (const _ of db.prepare(`SELECT * FROM "${name}"`).raw().iterate()) rows++;
  db.close();
  return rows;
}

/** Its ready line is waited for, of its n-th life: calls before it would only teach the client to wait. */
export const serving = (daemon: Daemon, life = 1): Promise<boolean> =>
  eventually(
    'the controller serves',
    () =>
      daemon.running
        ? Promise.resolve(daemon.output.split(' ready on ').length > life)
        : Promise.reject(new Error(daemon.output)),
    120_000,
  );

async function firstPage(api: Api): Promise<void> {
  try {
    await api.call(api.vms, (c) => c.listVms, { page: { pageSize: 50, pageToken: '' }, host: '' });
  } finally {
    api.close();
  }
}

async function manyAgents(say: Say): Promise<void> {
  const hosts: FleetHost[] = [];
  await withInstallation(
    async (state) => {
      await fill(state, AGENTS, AGENTS * VMS_PER_AGENT, (i) => `127.0.0.1:${FIRST_PORT + i}`);
      await powerOn(state);
      hosts.push(...fleetOf(state));
    },
    async ({ dir, dataDir, daemon, api }) => {
      const alone = await startAlone(daemon);
      const fleets = await startFleets(dir, dataDir, hosts);
      try {
        await measureFleet(say, { daemon, fleets, api: api(), alone });
      } finally {
        for (const f of fleets) await f.end('SIGKILL');
        rmSync(join(dir, 'fleet'), { recursive: true, force: true });
      }
    },
  );
}

const powerOn = (state: State): Promise<void> =>
  state.update((tx) => {
    for (const vm of state.tables.vms.values()) tx.vms.put({ ...vm, desiredPower: 'on' });
  });

function fleetOf(state: State): FleetHost[] {
  const byHost = new Map<string, FleetHost['vms'][number][]>();
  for (const vm of state.tables.vms.values()) {
    const mine = byHost.get(vm.hostId ?? '') ?? [];
    byHost.set(vm.hostId ?? '', mine);
    mine.push({ id: vm.id, uuid: vm.uuid, name: vm.name, mac: vm.spec.nics[0]?.mac ?? '' });
  }
  return [...state.tables.hosts.values()].map((h) => ({
    id: h.id,
    name: h.name,
    port: Number(h.address.split(':')[1]),
    vms: byHost.get(h.id) ?? [],
  }));
}

async function startFleets(dir: string, controllerDir: string, hosts: readonly FleetHost[]): Promise<Daemon[]> {
  const fleets: Daemon[] = [];
  for (let i = 0; i < FLEETS; i++) {
    const config: FleetConfig = {
      controllerDir,
      dir: join(dir, 'fleet'),
      hosts: hosts.filter((_, n) => n % FLEETS === i),
    };
    const file = join(dir, `fleet-${i}.json`);
    writeFileSync(file, JSON.stringify(config));
    const fleet = new Daemon(FLEET, [file]);
    fleet.start();
    fleets.push(fleet);
  }
  for (const f of fleets)
    await eventually(
      'the fleet listens',
      async () => {
        if (!f.running) throw new Error(f.output);
        return f.output.includes('ready');
      },
      300_000,
    );
  return fleets;
}

/** What the same start costs when no agent answers: the rest is what the agents cost. */
async function startAlone(daemon: Daemon): Promise<Cost> {
  daemon.start();
  await serving(daemon, 1);
  const cost = await costOf(daemon.pid ?? 0);
  await daemon.end();
  return cost;
}

interface Measured {
  readonly daemon: Daemon;
  readonly fleets: readonly Daemon[];
  readonly api: Api;
  readonly alone: Cost;
}

async function measureFleet(say: Say, { daemon, fleets, api, alone }: Measured): Promise<void> {
  // from the start of the process: it dials as soon as it can, and its ready line may come after many connections
  const startedMs = performance.now();
  daemon.start();
  const pid = daemon.pid ?? 0;
  await serving(daemon, 2);
  const serves = { ms: performance.now() - startedMs, cost: await costOf(pid) };
  await allUp(api);
  const up = { ms: performance.now() - startedMs, cost: await costOf(pid) };
  const [controller, ...agents] = await useOf(IDLE_MS, [{ pid }, ...fleets.map((f) => ({ pid: f.pid ?? 0 }))]);
  if (!controller) return;
  const each = agents.reduce((sum, a) => sum + a.rssBytes, 0) / AGENTS;
  const agentsCpu = agents.reduce((sum, a) => sum + a.cpuPercent, 0) / AGENTS;
  table(
    say,
    `Controller with ${AGENTS} agents, ${VMS_PER_AGENT} running VMs each`,
    ['', 'CPU', 'of a core', 'memory'],
    [
      ['start without agents, until it serves', ms(alone.cpuMs), '', mib(alone.rssBytes)],
      [`start with agents, until it serves: ${ms(serves.ms)}`, ...shown(serves)],
      [`  until all are up: ${ms(up.ms)}`, ...shown(up)],
      [
        '  per agent, above the start without',
        ms((up.cost.cpuMs - alone.cpuMs) / AGENTS),
        '',
        `${((up.cost.rssBytes - alone.rssBytes) / AGENTS / 1024).toFixed(0)} KiB`,
      ],
      [
        `idle for ${ms(IDLE_MS)}`,
        ms(controller.cpuMs),
        `${controller.cpuPercent.toFixed(1)} %`,
        mib(controller.rssBytes),
      ],
      ['  one simulated agent meanwhile', '', `${agentsCpu.toFixed(3)} %`, `${(each / 1024).toFixed(0)} KiB`],
    ],
  );
  remark(
    say,
    `whole agents over simulated drivers, ${AGENTS / FLEETS} in one process; statistics every 10 s, heartbeat every 2 s`,
  );
}

const shown = (s: { readonly ms: number; readonly cost: Cost }): Row => [
  ms(s.cost.cpuMs),
  `${((100 * s.cost.cpuMs) / s.ms).toFixed(0)} %`,
  mib(s.cost.rssBytes),
];

async function allUp(api: Api): Promise<void> {
  try {
    await eventually(
      `${AGENTS} hosts up`,
      async () => {
        if ((await countUp(api)) === AGENTS) return true;
        await systemClock.sleep(500); // to count them costs the controller something as well
        return false;
      },
      300_000,
    );
  } finally {
    api.close();
  }
}

async function countUp(api: Api): Promise<number> {
  let up = 0;
  for (let pageToken = ''; ;) {
    const r = await api.call(api.hosts, (c) => c.listHosts, { page: { pageSize: 500, pageToken } });
    up += r.hosts.filter((h) => h.state === HostState.UP).length;
    if (r.nextPageToken === '') break;
    pageToken = r.nextPageToken;
  }
  return up;
}
