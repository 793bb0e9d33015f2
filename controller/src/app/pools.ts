/** What people may do with storage pools: checks, writes intent, starts jobs. What hosts do then is jobs/pools.ts's. */
import {
  alreadyExists,
  badState,
  ClusterError,
  invalidArgument,
  unsupported,
} from '@berth/shared/errors/cluster-error.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host } from '@berth/shared/model/host.ts';
import { newId, type JobId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL, POOL_DEFAULTS, type Pool, type PoolHosts, type PoolSource } from '@berth/shared/model/pool.ts';
import { checkPoolSource } from '@berth/shared/pool/check.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Jobs } from '../jobs/engine/jobs.ts';
import { poolChange, poolCreate, poolRemove, type PoolChangeParams } from '../jobs/pools.ts';
import type { State, Tx } from '../state/state.ts';
import { checkName, resolve } from './names.ts';
import { pageByName, type Page, type PageQuery } from './pages.ts';
import { hostsOf, localPool, takesPools } from './pool-hosts.ts';
import { foreignOn, viewPool, type ForeignPoolView, type PoolView } from './pool-view.ts';

/** Each is looked for on every host. */
const MOST_IN_PAGE = 100;

export interface PoolsDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly jobs: Jobs;
  readonly clock: Clock;
}

export interface PoolSettings {
  readonly warnPercent?: number | undefined;
  readonly stopPercent?: number | undefined;
  readonly overcommit?: number | undefined;
  readonly autostart?: boolean | undefined;
}

export interface CreatePool extends PoolSettings {
  readonly name: string;
  readonly source: PoolSource;
  readonly shared: boolean;
  readonly allHosts: boolean;
  readonly hosts: readonly string[];
  readonly selector: string;
  readonly secret: string;
}

export interface PoolJob {
  readonly view: PoolView;
  readonly jobId: JobId;
}

const MOST_SECRET = 4_096;
const LEAST_FACTOR = 0.1;
const MOST_FACTOR = 100;

export class PoolsApp {
  constructor(private readonly deps: PoolsDeps) {}

  async create(r: CreatePool, user: string): Promise<PoolJob> {
    const { state, clock } = this.deps;
    const name = checkName('pool', r.name);
    if (name === LOCAL_POOL)
      throw alreadyExists(`pool ${LOCAL_POOL} is on every host already: the folder of its agent. Choose another name`);
    const source = checkPoolSource(`pool ${name}`, r.source);
    if (r.shared && source.type === 'logical')
      throw unsupported(
        `pool ${name} cannot be shared: hosts that change one volume group without a lock spoil it. Give each host its own`,
      );
    const secret = checkSecret(name, source, r.secret);
    const settings = checkSettings(name, { ...POOL_DEFAULTS, autostart: true, ...given(r) });
    return state.update((tx) => {
      if (state.tables.pools.byName(name)) throw alreadyExists(`pool ${name} exists already. Choose another name`);
      const pool: Pool = {
        ...{ id: newId('pool', clock.now()), name, state: 'creating', source, shared: r.shared, ...settings },
        ...{ hosts: this.#choose(name, r), started: true, marked: false, generation: 1, createdAtMs: clock.now() },
        ...(secret !== '' && { secret }),
      };
      const on = this.#ready(pool);
      tx.pools.put(pool);
      const params = { poolId: pool.id, hostIds: on.map((h) => h.id) };
      return this.#started(pool, this.deps.jobs.start(tx, poolCreate, params, this.#options(pool, user)));
    });
  }

  async get(nameOrId: string): Promise<PoolView> {
    const view = this.#view(this.#find(nameOrId));
    await this.deps.state.settled();
    return view;
  }

  async list(query: PageQuery): Promise<Page<PoolView>> {
    const { tables } = this.deps.state;
    const page = pageByName(tables.pools, {
      ...query,
      pageSize: Math.min(MOST_IN_PAGE, query.pageSize || MOST_IN_PAGE),
    });
    const first = query.pageToken === '' && tables.pools.byName(LOCAL_POOL) === undefined;
    const items = [...(first ? [localPool(tables)] : []), ...page.items].map((p) => this.#view(p));
    await this.deps.state.settled();
    return { ...page, items };
  }

  /** In the order of hosts and names. A page is of so many hosts that have any. */
  foreign(query: PageQuery, sees: (h: Host) => boolean): Page<ForeignPoolView> {
    const { state, hosts } = this.deps;
    const page = pageByName(state.tables.hosts, query, (h) => sees(h) && foreignOn(h, hosts).length > 0);
    return { ...page, items: page.items.flatMap((h) => foreignOn(h, hosts)) };
  }

  async update(nameOrId: string, settings: PoolSettings): Promise<PoolView> {
    const { state, clock } = this.deps;
    const changed = await state.update((tx) => {
      const pool = this.#find(nameOrId);
      const next = { ...pool, ...checkSettings(pool.name, { ...pool, ...given(settings) }) };
      if (pool.name === LOCAL_POOL && settings.autostart !== undefined)
        throw invalidArgument(`pool ${LOCAL_POOL} is always there: it has no autostart`);
      // hosts are told of what is theirs
      const told = next.autostart === pool.autostart ? pool.generation : pool.generation + 1;
      const row = { ...next, generation: told };
      tx.pools.put(tx.pools.get(pool.id) ? row : { ...row, id: newId('pool', clock.now()), createdAtMs: clock.now() });
      tellChanged(tx, pool, next);
      return this.#find(pool.name);
    });
    return this.#view(changed);
  }

  start = (pool: string, user: string): Promise<PoolJob> => this.#change(pool, 'start', user);
  stop = (pool: string, user: string): Promise<PoolJob> => this.#change(pool, 'stop', user);
  refresh = (pool: string, user: string): Promise<PoolJob> => this.#change(pool, 'refresh', user);

  delete(nameOrId: string, user: string): Promise<PoolJob> {
    const { state, jobs } = this.deps;
    return state.update((tx) => {
      const pool = this.#changeable(nameOrId, 'cannot be removed');
      this.#refuseInUse(pool);
      const params = { poolId: pool.id, hostIds: this.#reachable(pool).map((h) => h.id) };
      return this.#started(pool, jobs.start(tx, poolRemove, params, this.#options(pool, user)));
    });
  }

  #change(nameOrId: string, verb: PoolChangeParams['verb'], user: string): Promise<PoolJob> {
    const { state } = this.deps;
    return state.update((tx) => {
      const pool = this.#changeable(nameOrId, 'is always up');
      if (verb === 'stop') this.#refuseRunning(pool);
      const on = verb === 'start' ? this.#ready(pool) : this.#reachable(pool);
      return this.#started(pool, this.#startChange(tx, pool, verb, on, user));
    });
  }

  #startChange(tx: Tx, pool: Pool, verb: PoolChangeParams['verb'], on: readonly Host[], user: string): JobId {
    const params = { poolId: pool.id, verb, hostIds: on.map((h) => h.id) };
    return this.deps.jobs.start(tx, poolChange, params, this.#options(pool, user));
  }

  #options = (pool: Pool, user: string) => ({
    subject: pool.name,
    locks: [`pool/${pool.id}:exclusive` as const],
    user,
  });

  #started = (pool: Pool, jobId: JobId): PoolJob => ({ view: { ...this.#view(pool), jobId }, jobId });

  #find(nameOrId: string): Pool {
    const { tables } = this.deps.state;
    return nameOrId === LOCAL_POOL ? localPool(tables) : resolve('pool', tables.pools, nameOrId);
  }

  #changeable(nameOrId: string, local: string): Pool {
    const pool = this.#find(nameOrId);
    if (pool.name === LOCAL_POOL)
      throw badState(`pool ${LOCAL_POOL} ${local}: it is the folder of the agent on every host`);
    if (pool.state === 'ready') return pool;
    const job = this.deps.state.tables.jobs.holders(`pool/${pool.id}`)[0]?.id ?? '';
    throw new ClusterError('RESOURCE_BUSY', `pool ${pool.name} is ${pool.state}: job ${job} works on it`, {
      jobId: job,
    });
  }

  /** Named hosts must be there; of others, those that are. */
  #choose(name: string, r: Pick<CreatePool, 'allHosts' | 'hosts' | 'selector'>): PoolHosts {
    const { tables } = this.deps.state;
    const said = [r.allHosts, r.hosts.length > 0, r.selector !== ''].filter(Boolean).length;
    if (said > 1) throw invalidArgument(`pool ${name}: hosts by name, by label, or all of them: choose one way`);
    parseSelector(r.selector);
    if (r.allHosts || r.selector !== '') return { all: r.allHosts, ids: [], selector: r.selector };
    if (r.hosts.length > 0) return { all: false, ids: r.hosts.map((h) => this.#named(name, h).id), selector: '' };
    if (tables.hosts.size !== 1)
      throw invalidArgument(`pool ${name}: on which hosts? Name them (--host h1,h2), or say --all-hosts`);
    return { all: false, ids: [...tables.hosts.values()].map((h) => h.id), selector: '' };
  }

  #named(name: string, nameOrId: string): Host {
    const { state, hosts } = this.deps;
    const host = resolve('host', state.tables.hosts, nameOrId);
    needCapability(host, hosts.status(host.id).facts, 'pool');
    if (takesPools(hosts, host.id)) return host;
    const { state: is, reason } = hosts.status(host.id);
    throw badState(`pool ${name} cannot be made on host ${host.name} now: it is ${is}${reason ? `, ${reason}` : ''}`);
  }

  /** Those that a pool can be made on now. */
  #ready(pool: Pool): readonly Host[] {
    const { state, hosts } = this.deps;
    const all = hostsOf(pool, state.tables);
    const ready = all.filter((h) => takesPools(hosts, h.id));
    if (ready.length > 0) return ready;
    if (all.length === 0) throw badState(`pool ${pool.name}: there is no such host. See: berth host list`);
    const [first] = all;
    if (first) needCapability(first, hosts.status(first.id).facts, 'pool');
    throw badState(`pool ${pool.name}: none of its ${all.length} hosts is up. See: berth host list`);
  }

  #reachable(pool: Pool): readonly Host[] {
    const { state, hosts } = this.deps;
    return hostsOf(pool, state.tables).filter((h) => takesPools(hosts, h.id));
  }

  #refuseInUse(pool: Pool): void {
    const { tables } = this.deps.state;
    const [volume] = tables.volumes.byPool(pool.id);
    if (volume)
      throw new ClusterError(
        'IN_USE',
        `pool ${pool.name} is in use: volume ${volume.name} lies in it. Move or delete it first`,
      );
    const vms = tables.vms.byPool(pool.id).map((v) => v.name);
    if (vms.length === 0) return;
    throw new ClusterError(
      'IN_USE',
      `pool ${pool.name} is in use: disks of ${namesOf(vms)} lie in it. Delete them first`,
    );
  }

  #refuseRunning(pool: Pool): void {
    const { state, hosts } = this.deps;
    const on = state.tables.vms.byPool(pool.id).filter((v) => !OFF.has(hosts.vm(v.id)?.power ?? 'stopped'));
    if (on.length === 0) return;
    const names = namesOf(on.map((v) => v.name));
    throw new ClusterError(
      'IN_USE',
      `pool ${pool.name} is in use: ${names} ${on.length === 1 ? 'runs' : 'run'} with disks in it. Stop ${on.length === 1 ? 'it' : 'them'} first`,
    );
  }

  #view = (pool: Pool): PoolView => viewPool(pool, this.deps.state.tables, this.deps.hosts);
}

function tellChanged(tx: Tx, before: Pool, { name, warnPercent, stopPercent, overcommit, autostart }: Pool): void {
  const changed = [
    ...(warnPercent === before.warnPercent ? [] : [`it warns at ${warnPercent} %`]),
    ...(stopPercent === before.stopPercent ? [] : [`it stops at ${stopPercent} %`]),
    ...(overcommit === before.overcommit ? [] : [`its factor is ${overcommit}`]),
    ...(autostart === before.autostart ? [] : [`it is ${autostart ? '' : 'not '}started when a host boots`]),
  ];
  if (changed.length === 0) return;
  const message = `pool ${name} changed: ${changed.join(', ')}`;
  tx.event({
    type: 'pool.changed',
    ...{ severity: 'info', subjectKind: 'pool', subject: name, message, jobId: undefined },
  });
}

const OFF: ReadonlySet<string> = new Set(['stopped', 'crashed']);

const namesOf = (vms: readonly string[]): string => {
  const sorted = [...vms].sort();
  const named = sorted.slice(0, 5).join(', ') + (sorted.length > 5 ? ` and ${sorted.length - 5} more` : '');
  return `${vms.length === 1 ? 'vm' : 'vms'} ${named}`;
};

/** What is said, without what is not. */
const given = (s: PoolSettings): PoolSettings => ({
  ...(s.warnPercent !== undefined && { warnPercent: s.warnPercent }),
  ...(s.stopPercent !== undefined && { stopPercent: s.stopPercent }),
  ...(s.overcommit !== undefined && { overcommit: s.overcommit }),
  ...(s.autostart !== undefined && { autostart: s.autostart }),
});

type Settings = Pick<Pool, 'warnPercent' | 'stopPercent' | 'overcommit' | 'autostart'>;

function checkSettings(name: string, s: PoolSettings): Settings {
  const { warnPercent = 0, stopPercent = 0, overcommit = 0, autostart = true } = s;
  const whole = (n: number): boolean => Number.isInteger(n) && n >= 1 && n <= 100;
  if (!whole(warnPercent) || !whole(stopPercent) || warnPercent > stopPercent)
    throw invalidArgument(
      `pool ${name}: it warns at ${warnPercent} % and stops at ${stopPercent} %: both from 1 to 100, the first no larger than the second`,
    );
  if (!(overcommit >= LEAST_FACTOR && overcommit <= MOST_FACTOR))
    throw invalidArgument(`pool ${name}: overcommit must be from ${LEAST_FACTOR} to ${MOST_FACTOR}, not ${overcommit}`);
  return { warnPercent, stopPercent, overcommit, autostart };
}

function checkSecret(name: string, source: PoolSource, secret: string): string {
  if (secret === '' && source.authUser === '') return '';
  if (source.authUser === '') throw invalidArgument(`pool ${name}: a secret needs a user: --auth-user`);
  if (secret === '') throw invalidArgument(`pool ${name}: user ${source.authUser} needs a secret: --auth-secret-file`);
  const bytes = Buffer.from(secret, 'base64');
  const key = source.type === 'rbd' ? bytes.toString() : '';
  if (key !== Buffer.from(key, 'base64').toString('base64'))
    throw invalidArgument(`pool ${name}: its secret is no key of Ceph, as ceph auth get-key prints it`);
  if (bytes.length > MOST_SECRET) throw unsupported(`pool ${name}: its secret is longer than ${MOST_SECRET} bytes`);
  return bytes.toString('base64');
}
