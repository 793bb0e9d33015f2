/**
 * What the controller's state costs: durable updates per second (synchronous=FULL), and the time to load a large
 * inventory. Beside each the raw tool: better-sqlite3 alone doing the same. Functions only; the table is main.ts's.
 */
import { Sqlite } from '@berth/controller/state/sqlite/library.ts';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openState } from '@berth/controller/state/open-state.ts';
import { aHost, anImage, aVm, macOf } from '@berth/controller/state/samples.ts';
import { initState } from '@berth/controller/state/sqlite/init.ts';
import type { State } from '@berth/controller/state/state.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';

const log = { error: () => {}, fatal: () => {} };

export interface UpdateRates {
  readonly oneAtATimePerSecond: number;
  readonly hundredInFlightPerSecond: number;
  /** better-sqlite3 on the same disk, one upsert of the same row per transaction, synchronous=FULL. */
  readonly rawSqlitePerSecond: number;
}

export interface LoadTimes {
  readonly hosts: number;
  readonly vms: number;
  readonly fileBytes: number;
  readonly loadMs: number;
  readonly heapBytes: number;
  readonly firstPageOfNamesMs: number;
}

/** @param workerFile the bundled SQLite thread. @param folder on the disk to measure; a temporary one unless given. */
export async function measureUpdates(workerFile: string, forMs = 3_000, folder?: string): Promise<UpdateRates> {
  return inDatabase(workerFile, folder, async (state, path) => {
    const vms = await fill(state, 10, 1_000);
    let n = 0;
    const once = () => {
      const vm = vms[n++ % vms.length]!;
      return state.update((tx) => tx.vms.put({ ...vm, generation: n }));
    };
    const oneAtATimePerSecond = await rate(forMs, 1, once);
    const hundredInFlightPerSecond = await rate(forMs, 100, once);
    return { oneAtATimePerSecond, hundredInFlightPerSecond, rawSqlitePerSecond: rawRate(`${path}.raw`, vms, forMs) };
  });
}

export async function measureLoad(
  workerFile: string,
  hosts = 10_000,
  vms = 300_000,
  folder?: string,
): Promise<LoadTimes> {
  return inDatabase(workerFile, folder, async (first, path) => {
    await fill(first, hosts, vms);
    await first.close();
    const started = performance.now();
    const state = await openState({ path, clock: systemClock, log, onFatal: raise, workerFile });
    const loadMs = performance.now() - started;
    const heapBytes = process.memoryUsage().heapUsed;
    const paging = performance.now();
    state.tables.vms.afterName('', 100);
    const firstPageOfNamesMs = performance.now() - paging;
    const loaded = { hosts: state.tables.hosts.size, vms: state.tables.vms.size };
    await state.close();
    return { ...loaded, fileBytes: statSync(path).size, loadMs, heapBytes, firstPageOfNamesMs };
  });
}

async function inDatabase<T>(
  workerFile: string,
  folder: string | undefined,
  fn: (state: State, path: string) => Promise<T>,
): Promise<T> {
  const dir = mkdtempSync(join(folder ?? tmpdir(), 'berth-bench-'));
  const path = join(dir, 'state.db');
  initState({ path, clock: systemClock });
  const state = await openState({ path, clock: systemClock, log, onFatal: raise, workerFile });
  try {
    return await fn(state, path);
  } finally {
    await state.close().catch(() => {});
    rmSync(dir, { recursive: true });
  }
}

/** @param address of host number i; by default one that leads nowhere. */
export async function fill(
  state: State,
  hosts: number,
  vms: number,
  address?: (i: number) => string,
): Promise<readonly Vm[]> {
  const image = anImage({});
  const hostIds: HostId[] = [];
  await state.update((tx) => {
    tx.images.put(image);
    for (let i = 0; i < hosts; i++) {
      const host = aHost(address ? { address: address(i) } : {});
      hostIds.push(host.id);
      tx.hosts.put(host);
    }
  });
  const all: Vm[] = [];
  while (all.length < vms) {
    await state.update((tx) => {
      for (let i = 0; i < 5_000 && all.length < vms; i++) {
        const vm = aVm({ hostId: hostIds[all.length % hostIds.length], imageId: image.id, mac: macOf(all.length) });
        tx.vms.put(vm);
        all.push(vm);
      }
    });
  }
  return all;
}

async function rate(forMs: number, inFlight: number, once: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  let done = 0;
  const lane = async (): Promise<void> => {
    while (performance.now() - started < forMs) {
      await once();
      done++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return Math.round((done * 1000) / (performance.now() - started));
}

function rawRate(path: string, vms: readonly Vm[], forMs: number): number {
  const db = new Sqlite(path);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = FULL');
  db.exec('CREATE TABLE vms (id TEXT PRIMARY KEY, name TEXT UNIQUE, generation INTEGER, body TEXT) STRICT');
  const put = db.prepare('INSERT OR REPLACE INTO vms VALUES (?, ?, ?, ?)');
  const started = performance.now();
  let n = 0;
  for (; performance.now() - started < forMs; n++) {
    const vm = vms[n % vms.length]!;
    put.run(vm.id, vm.name, n, JSON.stringify(vm.spec));
  }
  const perSecond = Math.round((n * 1000) / (performance.now() - started));
  db.close();
  return perSecond;
}

function raise(e: unknown): void {
  throw e;
}
