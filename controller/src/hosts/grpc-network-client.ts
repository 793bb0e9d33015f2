/** NetworkClient over gRPC: encode and call. No decisions. */
import { NetworkServiceService as Networks } from '@berth/proto/agent/v1/network.ts';
import type { Operation, OperationContext } from '@berth/proto/agent/v1/operation.ts';
import type { OperationView } from './agent-client.ts';
import type { Method } from './connection.ts';
import type { NetworkClient, NetworkWanted } from './network-client.ts';

type Change = <Req>(m: Method<Req, Operation>, request: Req) => Promise<OperationView>;

/** @param contextOf of an operation. */
export const networkClient = (
  change: Change,
  contextOf: (operationId: string) => OperationContext,
): NetworkClient<OperationView> => ({
  ensure: (id, wanted) => change(Networks.ensureNetwork, { context: contextOf(id), spec: toWire(wanted) }),
  remove: (id, networkId) => change(Networks.removeNetwork, { context: contextOf(id), networkId }),
});

const toWire = ({ networkId, name, shape, generation }: NetworkWanted) => ({
  ...{ networkId, name, ...shape, addresses: [...shape.addresses] },
  generation: BigInt(generation),
});
