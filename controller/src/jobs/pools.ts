/**
 * The jobs of storage pools: pool.create, pool.change (start, stop, refresh) and pool.remove. Each asks hosts one after the other,
 * in the order of their names, so that the first host of a shared pool puts its mark there and every other has to find it. A host
 * that is away is passed over where that is safe: reconcilers/pools.ts does the rest when it is up.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, PoolId } from '@berth/shared/model/ids.ts';
import type { Pool } from '@berth/shared/model/pool.ts';
import type { AgentClient } from '../hosts/agent-client.ts';
import type { OperationView } from '../hosts/agent-client.ts';
import type { PoolWanted } from '../hosts/pool-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalStep, type RemoteContext, type RemoteStep } from './engine/define.ts';
import { insist, settle, untilSeen } from './operate.ts';

export interface PoolParams {
  readonly poolId: PoolId;
  /** In the order in which they are asked. */
  readonly hostIds: readonly HostId[];
}

export interface PoolChangeParams extends PoolParams {
  readonly verb: 'start' | 'stop' | 'refresh';
}

type Context = Pick<
  RemoteContext<PoolParams, object, JobDeps>,
  'tables' | 'params' | 'deps' | 'opId' | 'undoOpId' | 'attempt' | 'progress' | 'nowMs' | 'notes'
>;

export function getPool(tables: Tables, poolId: PoolId): Pool {
  const pool = tables.pools.get(poolId);
  if (!pool) throw new ClusterError('NOT_FOUND', `pool ${poolId} does not exist any more`);
  return pool;
}

/** @param marked a host has put the mark of a shared pool there. */
export const poolWanted = (pool: Pool, marked: boolean): PoolWanted => ({
  ...{ poolId: pool.id, name: pool.name, source: pool.source, shared: pool.shared },
  ...{ autostart: pool.autostart, generation: pool.generation, marked, secret: pool.secret ?? '' },
});

const operationsOf = (c: Pick<Context, 'params' | 'opId'>): string[] => c.params.hostIds.map((id) => `${c.opId}.${id}`);

/** Asks each host for its part. @returns those that were away, or a wait. */
async function onEach(
  c: Context,
  why: string,
  ask: (agent: AgentClient, hostId: HostId, first: boolean) => Promise<OperationView>,
  mayBeAway: boolean,
): Promise<{ readonly away: readonly HostId[] } | Wait> {
  const away: HostId[] = [];
  for (const [i, hostId] of c.params.hostIds.entries()) {
    try {
      const op = await settle(c, ask(c.deps.hosts.agent(hostId), hostId, i === 0), why);
      if (Wait.is(op)) return op;
    } catch (e) {
      const gone = isClusterError(e, 'HOST_UNREACHABLE') && !c.deps.hosts.view(hostId).reachable;
      if (!gone || !mayBeAway) throw placed(c, hostId, e);
      away.push(hostId);
    }
  }
  return { away };
}

/** What libvirt says of a pool names neither that nor the host. */
function placed({ tables, params }: Context, hostId: HostId, e: unknown): unknown {
  const pool = tables.pools.get(params.poolId)?.name ?? params.poolId;
  if (!isClusterError(e) || e.message.includes(pool)) return e;
  const host = tables.hosts.get(hostId)?.name ?? hostId;
  return new ClusterError(e.reason, `pool ${pool} on ${host}: ${e.message}`, e.meta);
}

async function takeBack(c: Context): Promise<void | Wait> {
  for (const hostId of c.params.hostIds) {
    try {
      const agent = c.deps.hosts.agent(hostId);
      const remove = (id: string) => agent.pools.remove(id, c.params.poolId);
      const op = await insist(c, `${c.undoOpId}.${hostId}`, remove, 'removing the pool again');
      if (Wait.is(op)) return op;
    } catch (e) {
      // a host that comes back with a pool that nobody knows is cleaned up then
      if (!isClusterError(e, 'HOST_UNREACHABLE') || c.deps.hosts.view(hostId).reachable) throw e;
    }
  }
}

const isSeen = (c: Context): boolean =>
  c.params.hostIds.every((id) => c.deps.hosts.status(id).pools?.some((p) => p.poolId === c.params.poolId) ?? false);

const onHosts = (n: number): string => `on ${n} ${n === 1 ? 'host' : 'hosts'}`;

/** The row was put when the job was started, so that a duplicate loses at once; unwinding takes it back, last of all. */
export const poolCreate = defineJob<PoolParams, JobDeps>('pool.create', 1)
  .local('reserve', {
    run({ tables, params }) {
      getPool(tables, params.poolId);
      return null;
    },
    undo({ tx, params }) {
      tx.pools.delete(params.poolId);
    },
  })
  .remote('hosts', {
    operations: operationsOf,
    run: async (c) => {
      const pool = getPool(c.tables, c.params.poolId);
      const ask = (agent: AgentClient, hostId: HostId, first: boolean) =>
        agent.pools.ensure(`${c.opId}.${hostId}`, poolWanted(pool, pool.shared && !first));
      const made = await onEach(c, 'making the pool', ask, false);
      // who looks next must not be shown the hosts before it
      return Wait.is(made) ? made : (untilSeen(c, isSeen(c), 'making the pool') ?? made);
    },
    undo: (c) => takeBack(c),
    describe: (_, { params }) => onHosts(params.hostIds.length),
  })
  .local('publish', {
    run({ tx, tables, params, jobId }) {
      const pool = getPool(tables, params.poolId);
      tx.pools.put({ ...pool, state: 'ready', marked: pool.shared && params.hostIds.length > 0 });
      const message = `pool ${pool.name} created ${onHosts(params.hostIds.length)}`;
      const event = { type: 'pool.created', severity: 'info', subjectKind: 'pool', subject: pool.name } as const;
      tx.event({ ...event, message, jobId });
      return null;
    },
  })
  .build();

type Away = { readonly away: readonly HostId[] };

const changeHosts: RemoteStep<PoolChangeParams, object, JobDeps, Away> = {
  operations: operationsOf,
  run: async (c) => {
    const pool = getPool(c.tables, c.params.poolId);
    const { verb } = c.params;
    const ask = (agent: AgentClient, hostId: HostId, first: boolean): Promise<OperationView> => {
      const id = `${c.opId}.${hostId}`;
      if (verb === 'start') return agent.pools.ensure(id, poolWanted(pool, pool.shared && (pool.marked || !first)));
      return verb === 'stop' ? agent.pools.stop(id, pool.id) : agent.pools.refresh(id, pool.id);
    };
    return onEach(c, WHY[verb], ask, verb !== 'refresh');
  },
  describe: (out, { params }) => onHosts(params.hostIds.length - out.away.length),
};

const recordChange: LocalStep<PoolChangeParams, object, JobDeps, null> = {
  run({ tx, tables, params, jobId }) {
    const pool = getPool(tables, params.poolId);
    const { verb } = params;
    if (verb === 'refresh') return null;
    const started = verb === 'start';
    if (pool.started !== started || (started && pool.shared && !pool.marked))
      tx.pools.put({ ...pool, started, marked: pool.marked || (started && pool.shared) });
    const message = `pool ${pool.name} ${started ? 'started' : 'stopped'} ${onHosts(params.hostIds.length)}`;
    const type = `pool.${started ? 'started' : 'stopped'}`;
    tx.event({ type, severity: 'info', subjectKind: 'pool', subject: pool.name, message, jobId });
    return null;
  },
};

/** What was started or stopped on some hosts stays so when another refuses: the same command does the rest. */
export const poolChange = defineJob<PoolChangeParams, JobDeps>('pool.change', 1)
  .remote('hosts', changeHosts)
  .local('record', recordChange)
  .build();

/** What a mount may take. Storage that hangs must not keep people from stopping the pool. */
const MEND_MS = 5 * 60_000;

/** One host gets a pool that the others have; VMs are made there meanwhile. */
export const poolMend = defineJob<PoolChangeParams, JobDeps>('pool.mend', 1)
  .remote('hosts', { ...changeHosts, deadlineMs: MEND_MS })
  .local('record', recordChange)
  .build();

const WHY = { start: 'starting the pool', stop: 'stopping the pool', refresh: 'looking at the pool' } as const;

/** A host that is away keeps it until it is back; a host that refuses keeps the others from losing it for good. */
export const poolRemove = defineJob<PoolParams, JobDeps>('pool.remove', 1)
  .local('intent', {
    run({ tx, tables, params }) {
      tx.pools.put({ ...getPool(tables, params.poolId), state: 'deleting' });
      return null;
    },
    undo({ tx, tables, params }) {
      const pool = tables.pools.get(params.poolId);
      if (pool) tx.pools.put({ ...pool, state: 'ready' });
    },
  })
  .remote('hosts', {
    operations: operationsOf,
    run: async (c) => {
      const ask = (agent: AgentClient, hostId: HostId) => agent.pools.remove(`${c.opId}.${hostId}`, c.params.poolId);
      return onEach(c, 'removing the pool', ask, true);
    },
    // what is missing somewhere is made again by reconcilers/pools.ts, which sees it
    describe: (out, { params }) => onHosts(params.hostIds.length - out.away.length),
  })
  .local('forget', {
    run({ tx, tables, params, jobId }) {
      const { name } = getPool(tables, params.poolId);
      tx.pools.delete(params.poolId);
      const message = `pool ${name} removed; what is in it stays where it is`;
      tx.event({ type: 'pool.removed', severity: 'info', subjectKind: 'pool', subject: name, message, jobId });
      return null;
    },
  })
  .build();
