/** Worlds for the harness of jobs, and what of them is not compared: what a job may leave, or what was put when it was started. */
import { ClusterWorld } from '../../../test/harness/cluster-world.ts';
import { type Adversary, type JobWorld } from '../../../test/harness/job-harness.ts';
import { aPool } from '../state/samples.ts';
import type { Tx } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import type { CaRotation } from './ca-rotation.ts';
import { imageFetch } from './image-fetch.ts';

type Snapshot = {
  durable: Record<string, Record<string, Record<string, unknown>>>;
  hosts: { domains: [string, { power?: string; reason?: string }][]; images: unknown[] }[];
};

/** The row of an object that is being made belongs to its job: it was put when the job was started. */
export function withoutHalfMade(raw: unknown): unknown {
  const s = raw as Snapshot;
  for (const [table, half] of [
    ['vms', 'creating'],
    ['images', 'importing'],
    ['volumes', 'creating'],
    ['pools', 'creating'],
    ['networks', 'creating'],
  ] as const) {
    const rows = Object.entries(s.durable[table] ?? {}).filter(([, r]) => r['phase'] !== half && r['state'] !== half);
    s.durable[table] = Object.fromEntries(rows);
  }
  return s;
}

/** What was done to a guest stays done: it is not started again, or stopped, by an undo. */
export function withoutPower(raw: unknown): unknown {
  for (const host of (raw as Snapshot).hosts)
    for (const [, d] of host.domains) for (const key of ['power', 'reason'] as const) delete d[key];
  return raw;
}

/** The room for VMs that are being made together was claimed with their rows. */
export function withoutPromised(raw: unknown): unknown {
  const s = raw as Snapshot;
  for (const [id, row] of Object.entries(s.durable['vms'] ?? {}))
    if (row['phase'] === 'creating') delete s.durable['claims']?.[id];
  s.durable['claims'] ??= {};
  return withoutCopies(s);
}

/** Copies that were fetched on the way are kept: the next VM there needs them. */
export function withoutCopies(raw: unknown): unknown {
  const s = withoutHalfMade(raw) as Snapshot;
  delete s.durable['imageCopies'];
  for (const host of s.hosts) host.images = [];
  return s;
}

/** It is made by the job's last step, at that moment. */
export function detached(raw: unknown): unknown {
  for (const row of Object.values((raw as Snapshot).durable['volumes'] ?? {})) delete row['createdAtMs'];
  return asItWas(raw);
}

/** A seed that was taken out stays out: what is left of it is a debt. */
export function withoutSeeds(raw: unknown): unknown {
  const s = withoutPower(raw) as Snapshot & {
    hosts: { volumes: [string, { seed?: boolean }][]; domains: [string, { wanted?: { seedVolumeId?: string } }][] }[];
  };
  delete s.durable['debts'];
  for (const row of Object.values(s.durable['vms'] ?? {}))
    delete (row as { spec: { seedVolumeId?: string } }).spec.seedVolumeId;
  for (const host of s.hosts) {
    host.volumes = host.volumes.filter(([, v]) => v.seed !== true);
    for (const [, d] of host.domains) delete d.wanted?.seedVolumeId;
  }
  return s;
}

/** A disk that has grown is not cut again. */
export function withoutSizes(raw: unknown): unknown {
  for (const host of (raw as { hosts: { volumes: [string, { sizeBytes?: number }][] }[] }).hosts)
    for (const [, v] of host.volumes) delete v.sizeBytes;
  return raw;
}

/** The row was put when the job was started, with what it goes back to; a definition made anew tells a newer generation. */
export function asItWas(raw: unknown): unknown {
  const s = withoutPower(raw) as Snapshot;
  for (const [id, row] of Object.entries(s.durable['vms'] ?? {})) {
    const { before, ...rest } = row as { before?: object };
    s.durable['vms']![id] = { ...rest, ...before };
  }
  for (const host of s.hosts)
    for (const [, d] of host.domains) delete (d as { wanted?: { generation?: number } }).wanted?.generation;
  delete s.durable['claims'];
  return s;
}

export function worldOf<P>(
  cluster: ClusterWorld,
  params: P,
  put: (tx: Tx) => void,
  canonical: (raw: unknown) => unknown = (raw) => raw,
): JobWorld<P, JobDeps> {
  return {
    params,
    canonical,
    seed(tx) {
      cluster.seed(tx);
      put(tx);
    },
    deps: (state, clock) => cluster.deps(state, clock),
    hosts: () => cluster.contents(),
    defs: [imageFetch],
  };
}

/** CAs on a disk that no crash of the controller touches; hosts learn when they please. */
export class FakeCas implements CaRotation {
  private cas = { active: 'old', next: '', issuing: 'old', by: '', done: '' };

  constructor(private readonly adversary: Adversary) {}

  contents = () => [{ domains: [], images: [], active: this.cas.active, next: this.cas.next }];
  begin = async (id: string) => {
    if (this.cas.done !== id) this.cas = { ...this.cas, next: 'new', by: id };
  };
  abandon = async (id: string) => {
    if (this.cas.by === id && this.cas.issuing === 'old') this.cas = { ...this.cas, next: '', by: '' };
  };
  issue = async () => void (this.cas.issuing = this.cas.next || this.cas.issuing);
  finish = async (id: string) => {
    if (this.cas.done === id) return;
    if (this.cas.issuing !== 'new') throw new Error('the old CA would go while it still signs');
    this.cas = { active: 'new', next: '', issuing: 'new', by: '', done: id };
  };
  untold = () => (this.adversary.pick(3) === 0 ? ['h2'] : []);
  unissued = () => (this.adversary.pick(3) === 0 ? ['h2', 'h1'] : []);
  hurried = () => false;
}

export const making = (withImage: boolean, at: 0 | 1, identity?: 'offline') => (adversary: Adversary) => {
  const cluster = new ClusterWorld(adversary);
  const seeded = cluster.vmToMake(withImage);
  const vm = identity ? { ...seeded, spec: { ...seeded.spec, identity, seedVolumeId: undefined } } : seeded;
  const params = { vmId: vm.id, hostId: cluster.hosts[at].id, imageId: cluster.image.id };
  return worldOf(cluster, params, (tx) => tx.vms.put(vm), at === 0 ? withoutHalfMade : withoutCopies);
};

/** What was made on some hosts stays, until the same command does the rest; looked at without that. */
export function withoutPools(raw: unknown): unknown {
  const s = raw as Snapshot;
  for (const host of s.hosts) delete (host as { pools?: unknown }).pools;
  return s;
}

export const onPool = (state: 'creating' | 'ready', there: boolean, more: object) => (adversary: Adversary) => {
  const cluster = new ClusterWorld(adversary);
  const pool = aPool({ name: 'fast', state, shared: true });
  if (there) for (const i of [0, 1] as const) cluster.fake(i).poolsHere.set(pool.id, 'up');
  const params = { poolId: pool.id, hostIds: [cluster.hosts[0].id, cluster.hosts[1].id], ...more } as never;
  return worldOf(cluster, params, (tx) => tx.pools.put(pool), there ? withoutPools : withoutHalfMade);
};
