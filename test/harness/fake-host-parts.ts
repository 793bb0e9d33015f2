/** What a fake host has: its domains, volumes and images as plain records, and the parts of a host that no job asks for. */
import type { AgentClient, OperationView } from '@berth/controller/hosts/agent-client.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { DomainDefinition } from '@berth/shared/hardware/domain.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import type { PoolSeen, PoolUnit } from '@berth/shared/model/pool.ts';
import type { VmPower } from '@berth/shared/model/vm.ts';

export interface FakeDomain {
  readonly wanted: DomainDefinition;
  readonly power: VmPower;
  readonly reason?: string;
}

export interface FakeVolume {
  readonly vmId: string;
  readonly sizeBytes: number;
  readonly imageDigest: string | undefined;
  readonly seed: boolean;
  /** Absent: not looked at. */
  readonly format?: string;
  readonly poolId?: string;
  /** Where its former file is. */
  readonly left?: string;
  /** What that was based on, when it is based on nothing now. */
  readonly leftImage?: string | undefined;
}

export interface FakeImage {
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

export const unasked = (): never => {
  throw new ClusterError('UNSUPPORTED', 'this host has no machine');
};
export const noMachine: AgentClient['machine'] = {
  check: async () => unasked(),
  inventory: async () => unasked(),
  baselineCpu: async () => unasked(),
  tuning: async () => unasked(),
};
/** The pools of a fake host, by id: `up` or `down`. */
export type FakePools = Map<string, string>;
type Operate = (id: string, what: unknown, effect: () => void) => Promise<OperationView>;

export const fakePools = (pools: FakePools, operate: Operate): AgentClient['pools'] => ({
  ensure: (id, w) => operate(id, ['ensurePool', w], () => void pools.set(w.poolId, 'up')),
  stop: (id, poolId) => operate(id, ['stopPool', poolId], () => void (pools.has(poolId) && pools.set(poolId, 'down'))),
  remove: (id, poolId) => operate(id, ['removePool', poolId], () => void pools.delete(poolId)),
  refresh: (id, poolId) =>
    operate(id, ['refreshPool', poolId], () => {
      if (!pools.has(poolId)) throw new ClusterError('NOT_FOUND', `pool ${poolId} is not here`);
    }),
  ensureImage: (id, v) => operate(id, ['ensurePoolImage', v], () => void pools.set(`${v.poolId}/${v.digest}`, 'image')),
  removeImage: (id, v) => operate(id, ['removePoolImage', v], () => void pools.delete(`${v.poolId}/${v.digest}`)),
});

/** The networks that a fake host has made, by id. */
export type FakeNetworks = Map<string, { readonly bridge: string; readonly generation: number }>;

export const fakeNetworks = (networks: FakeNetworks, operate: Operate): AgentClient['networks'] => ({
  ensure: (id, w) =>
    operate(id, ['ensureNetwork', w], () => {
      networks.set(w.networkId, { bridge: w.shape.bridge, generation: w.generation });
    }),
  remove: (id, networkId) => operate(id, ['removeNetwork', networkId], () => void networks.delete(networkId)),
});

export const networksSeen = (networks: FakeNetworks): readonly NetworkSeen[] =>
  [...networks].map(([networkId, { bridge, generation }]) => ({
    ...{ networkId, name: networkId, uuid: networkId, kind: 'isolated', bridge, addresses: [] },
    ...{ state: 'active', reason: '', generation },
  }));

export const noLogs: AgentClient['logs'] = { read: unasked, configuration: async () => unasked() };

const GIB = 2 ** 30;

/** As a host tells of them: 100 GiB each, half of it free. */
export const poolsSeen = (pools: FakePools, units: readonly PoolUnit[] = []): readonly PoolSeen[] =>
  [...pools]
    .filter(([, state]) => state !== 'image')
    .map(([poolId, state]) => ({
      ...{ poolId, name: poolId, uuid: poolId, type: 'dir', reason: '', targetPath: '/kvm/vdisks', generation: 1 },
      state: state === 'up' ? 'active' : 'inactive',
      ...{ capacityBytes: 100 * GIB, allocationBytes: 50 * GIB, availableBytes: 50 * GIB, volumesAllocatedBytes: 0 },
      imageDigests: [...pools.keys()].flatMap((k) => (k.startsWith(`${poolId}/`) ? k.slice(poolId.length + 1) : [])),
      ...(units.length > 0 && { units }),
    }));
