/**
 * The jobs of logical networks: network.create, network.change, network.mend (one host that lacks it) and network.remove. A bridge that
 * others make needs none of them. A host that is away is passed over: reconcilers/networks.ts does the rest when it is up.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, NetworkId } from '@berth/shared/model/ids.ts';
import type { Network } from '@berth/shared/model/network.ts';
import { Turns } from '@berth/shared/runtime/turns.ts';
import type { AgentClient, OperationView } from '../hosts/agent-client.ts';
import type { HostStatus } from '../hosts/hosts.ts';
import type { NetworkWanted } from '../hosts/network-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type RemoteContext, type RemoteStep } from './engine/define.ts';
import { insist, settle, untilSeen } from './operate.ts';

export interface NetworkParams {
  readonly networkId: NetworkId;
  readonly hostIds: readonly HostId[];
}

type Context = Pick<
  RemoteContext<NetworkParams, object, JobDeps>,
  'tables' | 'params' | 'deps' | 'opId' | 'undoOpId' | 'attempt' | 'progress' | 'nowMs' | 'notes'
>;
type Away = { readonly away: readonly HostId[] };

export function getNetwork(tables: Tables, networkId: NetworkId): Network {
  const network = tables.networks.get(networkId);
  if (!network) throw new ClusterError('NOT_FOUND', `network ${networkId} does not exist any more`);
  return network;
}

const wanted = ({ id, name, shape, generation }: Network): NetworkWanted => ({
  ...{ networkId: id, name, shape, generation },
});

const operationsOf = (c: Pick<Context, 'params' | 'opId'>): string[] => c.params.hostIds.map((id) => `${c.opId}.${id}`);

/** Hosts that are asked at the same time. */
const HOSTS_AT_ONCE = 16;

/**
 * Asks each host for its part: none waits for another, and none is begun with when one has refused. Who has done it is not asked again
 * while the step waits for others. @returns those that were away, or a wait.
 */
async function onEach(
  c: Context,
  ask: (agent: AgentClient, hostId: HostId) => Promise<OperationView | Wait>,
  done: Set<HostId>,
): Promise<Away | Wait> {
  const { hosts } = c.deps;
  const away = new Set<HostId>();
  const turns = new Turns(HOSTS_AT_ONCE);
  let refused = false;
  const one = async (hostId: HostId): Promise<Wait | undefined> => {
    if (refused || done.has(hostId)) return undefined;
    try {
      const op = await ask(hosts.agent(hostId), hostId);
      if (Wait.is(op)) return op;
      done.add(hostId);
      return undefined;
    } catch (e) {
      if (isClusterError(e, 'HOST_UNREACHABLE') && !hosts.view(hostId).reachable) return void away.add(hostId);
      refused = true;
      throw e;
    }
  };
  const ends = await Promise.allSettled(c.params.hostIds.map((id) => turns.run(() => one(id))));
  for (const end of ends) if (end.status === 'rejected') throw end.reason;
  const waits = ends.flatMap((end) => (end.status === 'fulfilled' && end.value ? [end.value] : []));
  return waits[0] ?? { away: c.params.hostIds.filter((id) => away.has(id)) };
}

/** Of this step, as long as this controller runs: the next asks all again, with the same ids. */
function doneIn({ notes }: Context, opId: string): Set<HostId> {
  const noted = `hosts that have done ${opId}`;
  const done = (notes.get(noted) as Set<HostId> | undefined) ?? new Set<HostId>();
  notes.set(noted, done);
  return done;
}

/** A host that is away, and comes back with a network that nobody knows, is cleaned up then. */
async function takeBack(c: Context): Promise<void | Wait> {
  const taken = await onEach(
    c,
    (agent, hostId) => {
      const remove = (id: string) => agent.networks.remove(id, c.params.networkId);
      return insist(c, `${c.undoOpId}.${hostId}`, remove, 'removing the network again');
    },
    doneIn(c, c.undoOpId),
  );
  if (Wait.is(taken)) return taken;
}

const onHosts = (n: number): string => `on ${n} ${n === 1 ? 'host' : 'hosts'}`;
const described: Pick<RemoteStep<NetworkParams, object, JobDeps, Away>, 'describe'> = {
  describe: (out, { params }) => onHosts(params.hostIds.length - out.away.length),
};

async function ensureOnEach(c: Context, why: string): Promise<Away | Wait> {
  const network = getNetwork(c.tables, c.params.networkId);
  const made = await onEach(
    c,
    (agent, hostId) => settle(c, agent.networks.ensure(`${c.opId}.${hostId}`, wanted(network)), why),
    doneIn(c, c.opId),
  );
  if (Wait.is(made)) return made;
  const isSeen = (id: HostId): boolean => made.away.includes(id) || isOn(network, c.deps.hosts.status(id));
  // who looks next must not be shown the hosts before it
  return untilSeen(c, c.params.hostIds.every(isSeen), why) ?? made;
}

const isOn = ({ id, generation, shape }: Network, { networks = [], bridges }: HostStatus): boolean =>
  networks.some((n) => n.networkId === id && n.generation >= generation) &&
  bridges.some((b) => b.name === shape.bridge);

/** The row was put when the job was started, so that a duplicate loses at once; unwinding takes it back, last of all. */
export const networkCreate = defineJob<NetworkParams, JobDeps>('network.create', 1)
  .local('reserve', {
    run({ tables, params }) {
      getNetwork(tables, params.networkId);
      return null;
    },
    undo({ tx, params }) {
      tx.networks.delete(params.networkId);
    },
  })
  .remote('hosts', {
    operations: operationsOf,
    run: (c) => ensureOnEach(c, 'making the network'),
    undo: (c) => takeBack(c),
    ...described,
  })
  .local('publish', {
    run({ tx, tables, params, jobId }) {
      const network = getNetwork(tables, params.networkId);
      tx.networks.put({ ...network, state: 'ready' });
      const message = `network ${network.name} created ${onHosts(params.hostIds.length)}`;
      const event = { type: 'network.created', severity: 'info', subjectKind: 'network' } as const;
      tx.event({ ...event, subject: network.name, message, jobId });
      return null;
    },
  })
  .build();

/** What was changed on some hosts stays so when another refuses: it is asked again later, and shows why meanwhile. */
export const networkChange = defineJob<NetworkParams, JobDeps>('network.change', 1)
  .remote('hosts', { operations: operationsOf, run: (c) => ensureOnEach(c, 'changing the network'), ...described })
  .build();

/** What a host may take that lost it. */
const MEND_MS = 5 * 60_000;

export const networkMend = defineJob<NetworkParams, JobDeps>('network.mend', 1)
  .remote('hosts', {
    operations: operationsOf,
    run: (c) => ensureOnEach(c, 'making the network'),
    ...described,
    deadlineMs: MEND_MS,
  })
  .build();

/** A host that is away keeps it until it is back; one that refuses ends it, and what the others lost is made again. */
export const networkRemove = defineJob<NetworkParams, JobDeps>('network.remove', 1)
  .local('intent', {
    run({ tx, tables, params }) {
      const network = getNetwork(tables, params.networkId);
      // who came since it was asked for has found it ready
      const [vm] = tables.vms.byNetwork(network.id);
      if (vm)
        throw new ClusterError(
          'IN_USE',
          `network ${network.name} is in use: vm ${vm.name} has got a card in it meanwhile`,
        );
      tx.networks.put({ ...network, state: 'deleting' });
      return null;
    },
    undo({ tx, tables, params }) {
      const network = tables.networks.get(params.networkId);
      if (network) tx.networks.put({ ...network, state: 'ready' });
    },
  })
  .remote('hosts', {
    operations: operationsOf,
    run: (c) =>
      onEach(
        c,
        (agent, hostId) =>
          settle(c, agent.networks.remove(`${c.opId}.${hostId}`, c.params.networkId), 'removing the network'),
        doneIn(c, c.opId),
      ),
    ...described,
  })
  .local('forget', {
    run({ tx, tables, params, jobId }) {
      const { name } = getNetwork(tables, params.networkId);
      tx.networks.delete(params.networkId);
      const event = { type: 'network.deleted', severity: 'info', subjectKind: 'network', subject: name } as const;
      tx.event({ ...event, message: `network ${name} deleted`, jobId });
      return null;
    },
  })
  .build();
