/** NetworkService on the wire. */
import type { NetworkServiceServer } from '@berth/proto/agent/v1/network.ts';
import { checkInterface } from '../ids.ts';
import { checkBridge, type Networks } from '../network/networks.ts';
import type { Operations } from '../operations/operations.ts';
import { operationIdOf } from './decode.ts';
import { encodeBridge, encodeOperation } from './encode.ts';
import type { Guard } from './guard.ts';

export function networkService(guard: Guard, operations: Operations, networks: Networks): NetworkServiceServer {
  return {
    listBridges: guard.read('ListBridges', async () => ({ bridges: (await networks.list()).map(encodeBridge) })),
    ensureBridge: guard.operation('EnsureBridge', async (q) => {
      const wanted = checkBridge({ name: q.name, addresses: q.addresses });
      return encodeOperation(await operations.run(networks.ensure, operationIdOf(q), wanted));
    }),
    removeBridge: guard.operation('RemoveBridge', async (q) =>
      encodeOperation(await operations.run(networks.remove, operationIdOf(q), checkInterface('bridge', q.name))),
    ),
  };
}
