/** PoolClient over gRPC: encode and call. No decisions. */
import type { Operation, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import { PoolServiceService as Pools } from '@berth/proto/agent/v1/pool.ts';
import type { OperationView } from './agent-client.ts';
import type { Method } from './connection.ts';
import type { PoolClient, PoolWanted } from './pool-client.ts';

type Change = <Req>(m: Method<Req, Operation>, request: Req) => Promise<OperationView>;

/** @param contextOf of an operation. */
export const poolClient = (
  change: Change,
  contextOf: (operationId: string) => OperationContext,
): PoolClient<OperationView> => ({
  ensure: (id, wanted) => change(Pools.ensurePool, { context: contextOf(id), ...toWire(wanted) }),
  stop: (id, poolId) => change(Pools.stopPool, { context: contextOf(id), poolId }),
  remove: (id, poolId) => change(Pools.removePool, { context: contextOf(id), poolId }),
  refresh: (id, poolId) => change(Pools.refreshPool, { context: contextOf(id), poolId }),
  ensureImage: (id, v) => change(Pools.ensurePoolImage, { context: contextOf(id), ...v }),
  removeImage: (id, v) => change(Pools.removePoolImage, { context: contextOf(id), ...v }),
});

const toWire = ({ source: s, ...w }: PoolWanted) => ({
  marked: w.marked,
  secret: Buffer.from(w.secret, 'base64'),
  spec: {
    ...{ poolId: w.poolId, name: w.name, shared: w.shared, autostart: w.autostart },
    generation: BigInt(w.generation),
    ...{ type: s.type, targetPath: s.targetPath, sourceHosts: [...s.hosts], sourcePath: s.path, sourceName: s.name },
    ...{ devices: [...s.devices], format: s.format, initiator: s.initiator, adapter: s.adapter, authUser: s.authUser },
  },
});
