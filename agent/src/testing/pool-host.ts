/** A host with pools over simulated storage, for tests of pools. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import type { PoolSource } from '@berth/shared/model/pool.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Storage } from '../drivers/storage.ts';
import { createSimDrivers, type SimDrivers } from '../drivers/sim/sim-drivers.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { createPoolParts } from '../pool/parts.ts';
import type { PoolSpec } from '../pool/pool-spec.ts';

const log = createLog('test', 'silent');
export const DIGEST = `sha256:${'ab'.repeat(32)}`;
export const source = (targetPath: string): PoolSource => ({
  ...{ type: 'dir', targetPath, hosts: [], path: '', name: '', devices: [] },
  ...{ format: '', initiator: '', adapter: '', authUser: '' },
});
export const spec = (over: Partial<PoolSpec> = {}): PoolSpec => ({
  ...{ poolId: 'pool-1', name: 'fast', source: source('/kvm/fast'), shared: false, autostart: true, generation: 1 },
  ...over,
});

export class PoolHost {
  ops = 0;
  ledger!: Ledger;
  parts!: ReturnType<typeof createPoolParts>;
  operations!: Operations;
  constructor(
    readonly name: string,
    readonly dir: string,
    readonly drivers: SimDrivers,
  ) {}

  /** Also after a restart: what it remembers is on its disk. */
  async open(): Promise<this> {
    await this.ledger?.close();
    this.ledger = await Ledger.open(this.dir, { clock: systemClock, log });
    this.operations = new Operations(this.ledger, systemClock, log);
    const about = { drivers: this.drivers, operations: this.operations, dataDir: this.dir, clock: systemClock, log };
    this.parts = createPoolParts({ ...about, hostId: `host-${this.name}`, hostName: this.name });
    await this.parts.store.load();
    return this;
  }

  /** Nothing of what it was about to do comes to pass: its process is gone, and another has begun. */
  async killedAt(method: keyof Storage, when: 'before' | 'after', begin: () => Promise<void>): Promise<void> {
    const { storage } = this.drivers;
    const real = storage[method] as (...args: unknown[]) => Promise<unknown>;
    const gone = new Promise<never>(() => undefined);
    await new Promise<void>((resolve) => {
      (storage as Record<keyof Storage, unknown>)[method] = async (...args: unknown[]) => {
        if (when === 'after') await real(...args);
        resolve();
        return gone;
      };
      void begin();
    });
    (storage as Record<keyof Storage, unknown>)[method] = real;
    await this.open();
  }

  id = (): string => `job-${this.name}.${++this.ops}`;
  async ensure(s: PoolSpec, marked = false, secret = ''): Promise<void> {
    const view = await this.operations.run(this.parts.pools.ensure, this.id(), { spec: s, marked, secret });
    if (view.failure) throw Object.assign(new Error(view.failure.message), { reason: view.failure.reason });
  }
  async run(kind: 'stop' | 'remove' | 'refresh', poolId = 'pool-1'): Promise<void> {
    const view = await this.operations.run(this.parts.pools[kind], this.id(), poolId);
    if (view.failure) throw Object.assign(new Error(view.failure.message), { reason: view.failure.reason });
  }
  files = (path = '/kvm/fast'): string[] => [...this.drivers.storage.folders.at(path).keys()].sort();
}

/** Hosts of one test; `close` at its end. */
export class PoolHosts {
  private dir = '';
  private readonly hosts: PoolHost[] = [];

  async host(name: string): Promise<PoolHost> {
    this.dir ||= await mkdtemp(join(tmpdir(), 'pools-'));
    const own = await mkdtemp(join(this.dir, name));
    const h = new PoolHost(name, own, createSimDrivers({ name, runDir: own, clock: systemClock }));
    this.hosts.push(h);
    return h.open();
  }

  async close(): Promise<void> {
    for (const h of this.hosts.splice(0)) await h.ledger.close();
    if (this.dir !== '') await rm(this.dir, { recursive: true, force: true });
    this.dir = '';
  }
}
