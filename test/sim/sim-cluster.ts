/**
 * A whole cluster in virtual time: the controller's state, jobs and services over a disk in memory, hosts in memory. The
 * controller dies at chosen commits and comes back; a dead one touches nothing any more, as after kill -9. Faults and
 * operators are the test's; what must always hold is invariants.ts.
 */
import { Captures } from '@berth/controller/app/captures.ts';
import { NetworksApp } from '@berth/controller/app/networks.ts';
import { Snapshots } from '@berth/controller/app/snapshots.ts';
import { PoolsApp } from '@berth/controller/app/pools.ts';
import { Exports } from '@berth/controller/app/exports.ts';
import { Images } from '@berth/controller/app/images.ts';
import { VolumeUploads } from '@berth/controller/app/volume-uploads.ts';
import { Volumes } from '@berth/controller/app/volumes.ts';
import { VmUpdates } from '@berth/controller/app/vm-updates.ts';
import { Batches } from '@berth/controller/app/batches.ts';
import { VmMaking } from '@berth/controller/app/vm-making.ts';
import { Vms } from '@berth/controller/app/vms.ts';
import type { AgentClient } from '@berth/controller/hosts/agent-client.ts';
import type { Hosts } from '@berth/controller/hosts/hosts.ts';
import { makeJobDeps } from '@berth/controller/jobs/deps.ts';
import type { Jobs } from '@berth/controller/jobs/engine/jobs.ts';
import { openJobs } from '@berth/controller/jobs/engine/open-jobs.ts';
import { nudgeJobs } from '@berth/controller/jobs/nudges.ts';
import { JOBS } from '@berth/controller/jobs/registry.ts';
import { Uploads } from '@berth/controller/jobs/uploads.ts';
import { WorldView } from '@berth/controller/jobs/world.ts';
import { Debts } from '@berth/controller/reconcilers/debts.ts';
import { FirstStarts } from '@berth/controller/reconcilers/first-starts.ts';
import { DEFAULT_POLICY } from '@berth/controller/scheduler/world.ts';
import { MemoryDisk, MemoryEngine } from '@berth/controller/state/memory-engine.ts';
import type { State } from '@berth/controller/state/state.ts';
import { Store } from '@berth/controller/state/store.ts';
import { aHost } from '@berth/controller/state/samples.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { newId, type HostId } from '@berth/shared/model/ids.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { FakeHosts, seeded } from '../harness/fake-hosts.ts';

const log = createLog('sim', 'silent');
const START_MS = 1_700_000_000_000;
const never = new Promise<never>(() => undefined);

/** One life of the controller, from start to kill. */
export interface Life {
  alive: boolean;
  readonly state: State;
  readonly jobs: Jobs;
  readonly vms: Vms;
  readonly making: VmMaking;
  readonly batches: Batches;
  readonly updates: VmUpdates;
  readonly images: Images;
  readonly pools: PoolsApp;
  readonly networks: NetworksApp;
  readonly volumes: Volumes;
  readonly captures: Captures;
  readonly snapshots: Snapshots;
  readonly exports: Exports;
  readonly volumeUploads: VolumeUploads;
  readonly debts: Debts;
}

export class SimCluster {
  readonly clock: SimClock;
  readonly random: () => number;
  readonly hosts: FakeHosts;
  readonly disk = new MemoryDisk();
  life: Life | undefined;
  lives = 0;
  /** Errors that no person should ever see. */
  readonly faults: unknown[] = [];

  constructor(readonly seed: number) {
    // ids never go back in time within a process, so each seed has days of its own
    this.clock = new SimClock(START_MS + seed * 10 * 86_400_000);
    this.random = seeded(seed);
    this.hosts = new FakeHosts({ clock: this.clock, random: this.random, timed: true });
  }

  /** @param crashAfter commits that this life has; Infinity: it does not die. */
  async boot(crashAfter: number): Promise<void> {
    const life: { alive: boolean } = { alive: true };
    const engine = new MemoryEngine({
      disk: this.disk,
      ...(crashAfter === Infinity ? {} : { crashAt: crashAfter, crashKeeps: this.random() < 0.5 }),
    });
    const clock = mortalClock(this.clock, life);
    const state = await Store.open({ engine, clock, log, onFatal: () => this.#died(life) });
    const hosts = mortalHosts(this.hosts, life);
    const uploads = new Uploads(clock);
    const world = new WorldView(state.tables, hosts, DEFAULT_POLICY);
    const deps = makeJobDeps({ hosts, tables: state.tables, world, uploads });
    const random = { next: this.random };
    const jobs = openJobs({ state, defs: JOBS, deps, clock, random, log, giveUpMs: 60_000 });
    const services = { state, hosts, jobs, clock, random, world, uploads };
    const debts = new Debts({ state, clock, log, runId: `run${++this.lives}` });
    const making = new VmMaking(services);
    const captures = new Captures(services);
    this.life = Object.assign(life, {
      state,
      jobs,
      vms: new Vms(services),
      making,
      batches: new Batches({ ...services, making, captures }),
      updates: new VmUpdates(services),
      images: new Images(services),
      pools: new PoolsApp(services),
      networks: new NetworksApp(services),
      volumes: new Volumes(services),
      captures,
      snapshots: new Snapshots(services),
      exports: new Exports(services),
      volumeUploads: new VolumeUploads(services),
      debts,
    });
    nudgeJobs({ hosts, state, jobs });
    debts.follow(hosts);
    new FirstStarts({ state, jobs, log }).follow(hosts);
    jobs.run();
    for (const host of this.hosts.all()) if (host.up) void this.reconnect(host.id as HostId);
  }

  async addHosts(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const host = aHost({ name, id: newId('host', this.clock.now()) });
      this.hosts.add(host.id, name);
      await this.life?.state.update((tx) => tx.hosts.put(host));
    }
  }

  /** What is owed is paid before the host counts as up; a try that fails is followed by the next. */
  async reconnect(id: HostId): Promise<void> {
    const life = this.life;
    const host = this.hosts.host(id);
    await this.clock.sleep(this.random() * 500);
    if (!life?.alive || !host.up || host.connected) return;
    try {
      await life.debts.pay(id, mortalAgent(host, life));
      if (life.alive && host.up) this.hosts.connect(id);
    } catch {
      if (life.alive) this.clock.after(1000, () => void this.reconnect(id));
    }
  }

  /** As kill -9 of the controller. */
  kill(): void {
    if (this.life) this.#died(this.life);
  }

  #died(life: { alive: boolean }): void {
    if (!life.alive) return;
    life.alive = false;
    this.life = undefined;
    for (const host of this.hosts.all()) this.hosts.disconnect(host.id as HostId);
  }
}

/** A dead controller's timers do not fire. */
function mortalClock(clock: Clock, life: { alive: boolean }): Clock {
  return {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    after: (ms, fn) => clock.after(ms, () => life.alive && fn()),
    sleep: (ms, signal) => clock.sleep(ms, signal).then(() => (life.alive ? undefined : never)),
  };
}

/** A dead controller's calls are not made, and no answer reaches it. */
function mortalAgent(agent: AgentClient, life: { alive: boolean }): AgentClient {
  return new Proxy(agent, {
    get(target, key) {
      const method = Reflect.get(target, key, target) as unknown;
      if (typeof method !== 'function') return method;
      // a stream: whoever reads it dies with the controller
      if (key === 'readExport') return method.bind(target) as unknown;
      return async (...args: unknown[]) => {
        if (!life.alive) return never;
        try {
          const answer: unknown = await (method as (...a: unknown[]) => unknown).apply(target, args);
          return life.alive ? answer : never;
        } catch (e) {
          if (!life.alive) return never;
          throw e;
        }
      };
    },
  });
}

function mortalHosts(hosts: Hosts, life: { alive: boolean }): Hosts {
  return {
    status: (id) => hosts.status(id),
    view: (id) => hosts.view(id),
    vm: (id) => hosts.vm(id),
    has: (id) => hosts.has(id),
    guest: (id) => hosts.guest(id),
    guestClient: (id) => hosts.guestClient(id),
    strays: (most) => hosts.strays(most),
    vmStatistics: (id) => hosts.vmStatistics(id),
    operation: (id) => hosts.operation(id),
    agent: (id) => mortalAgent(hosts.agent(id), life),
    subscribe: (listener) => hosts.subscribe((e) => life.alive && listener(e)),
  };
}
