/** A hundred thousand VMs, read in pages over both APIs while others are made and deleted: each once, in order, none missed. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApi, type Api } from '@berth/controller/cli/core/api.ts';
import { checkConfig } from '@berth/controller/config.ts';
import { createController, type Controller } from '@berth/controller/controller.ts';
import { aVm, macOf } from '@berth/controller/state/samples.ts';
import type { State } from '@berth/controller/state/state.ts';
import { initialise } from '@berth/controller/trust/init.ts';
import { paths } from '@berth/controller/trust/identity.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { systemRandom } from '@berth/shared/runtime/random.ts';
import { readFileSync } from 'node:fs';
import { Lane } from '../harness/lane.ts';
import { sqliteWorkerFile } from '../harness/sqlite-worker.ts';

const VMS = 100_000;
const PAGE = 5_000;
let dir: string;
let controller: Controller;
let api: Api;
let lane: Lane;
let state: State;
let next = 0;

/** Names in an order that is not that of their making. */
const nameOf = (i: number): string => `vm-${((i * 7919) % 1_000_003).toString(36).padStart(5, '0')}`;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'berth-lists-'));
  const dataDir = join(dir, 'data');
  const log = createLog('lists', 'silent');
  const workerFile = await sqliteWorkerFile();
  await initialise({ dataDir, addresses: ['127.0.0.1:7443'], clock: systemClock, log, workerFile });
  const config = checkConfig({ listen: '127.0.0.1:0' }, 'test');
  controller = createController({ dataDir, config, clock: systemClock, random: systemRandom, log, workerFile });
  const { port, httpPort = 0 } = await controller.start();
  const { token } = decodeLoginLine(readFileSync(paths(dataDir).adminToken, 'utf8'));
  const ca = readFileSync(paths(dataDir).caCertificate, 'utf8');
  api = createApi({ controller: `127.0.0.1:${port}`, ca, token }, () => systemClock.now());
  lane = new Lane({ host: '127.0.0.1', port: httpPort, ca, token });
  state = controller.parts!.state;
  while (next < VMS) await make(5_000);
}, 300_000);
afterAll(async () => {
  api?.close();
  lane?.close();
  await controller?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const make = (n: number): Promise<void> =>
  state.update((tx) => {
    for (let i = 0; i < n; i++, next++) tx.vms.put(aVm({ name: nameOf(next), mac: macOf(next) }));
  });

interface Page {
  readonly names: readonly string[];
  readonly next: string;
}
type Read = (pageToken: string) => Promise<Page>;

const overGrpc: Read = async (pageToken) => {
  const r = await api.call(api.vms, (c) => c.listVms, { page: { pageSize: PAGE, pageToken }, host: '' });
  return { names: r.vms.map((v) => v.name), next: r.nextPageToken };
};
const overHttp: Read = async (pageToken) => {
  const r = await lane.ask('GET', `/v1/vms?pageSize=${PAGE}&pageToken=${encodeURIComponent(pageToken)}`);
  const body = JSON.parse(r.body) as { vms: { name: string }[]; nextPageToken: string };
  return { names: body.vms.map((v) => v.name), next: body.nextPageToken };
};

/** @param between what others do between two pages. */
async function readAll(read: Read, between: (page: Page) => Promise<void>): Promise<string[]> {
  const names: string[] = [];
  let token = '';
  do {
    const page = await read(token);
    expect(page.names.length).toBeLessThanOrEqual(PAGE);
    names.push(...page.names);
    token = page.next;
    await between(page);
  } while (token !== '');
  return names;
}

describe.each([
  ['gRPC', overGrpc],
  ['HTTP', overHttp],
])('a list of 100,000 VMs over %s', (_, read) => {
  it('comes whole, in order, each once, although others come and go meanwhile', async () => {
    const before = new Set([...state.tables.vms.values()].map((v) => v.name));
    const gone = new Set<string>();
    const names = await readAll(read, async (page) => {
      await make(10);
      await state.update((tx) => {
        for (const name of page.names.slice(-3)) {
          const vm = state.tables.vms.byName(name);
          if (vm) tx.vms.delete(vm.id);
          gone.add(name);
        }
      });
    });
    expect(names.length).toBeGreaterThanOrEqual(VMS);
    expect(names.every((n, i) => i === 0 || (names[i - 1] ?? '') < n)).toBe(true);
    const got = new Set(names);
    expect([...before].filter((n) => !got.has(n))).toEqual([]);
    expect(gone.size).toBeGreaterThan(50);
  }, 120_000);

  it('never holds more than a page, whatever is asked for', async () => {
    const r = await lane.ask('GET', '/v1/vms?pageSize=4294967295');
    expect((JSON.parse(r.body) as { vms: unknown[] }).vms).toHaveLength(PAGE);
    const all = await api.call(api.vms, (c) => c.listVms, {
      page: { pageSize: 4_294_967_295, pageToken: '' },
      host: '',
    });
    expect(all.vms).toHaveLength(PAGE);
  });
});
