/** PoolService on the wire. */
import type * as wire from '@berth/proto/agent/v1/pool.ts';
import type { PoolSeen, PoolType } from '@berth/shared/model/pool.ts';
import { checkDigest, checkId } from '../ids.ts';
import type { Operations } from '../operations/operations.ts';
import type { PoolImages, PoolImageWanted } from '../pool/pool-images.ts';
import { checkPoolSpec, type PoolSpec } from '../pool/pool-spec.ts';
import type { PoolWatch } from '../pool/pool-watch.ts';
import type { Pools } from '../pool/pools.ts';
import { operationIdOf, present, toNumber } from './decode.ts';
import { encodeOperation, toWire } from './encode.ts';
import type { Guard } from './guard.ts';

export interface PoolParts {
  readonly pools: Pools;
  readonly images: PoolImages;
  readonly watch: PoolWatch;
}

export function poolService(guard: Guard, operations: Operations, p: PoolParts): wire.PoolServiceServer {
  const { pools, images, watch } = p;
  const verb = (name: string, kind: Pools['stop']) =>
    guard.operation(name, async (q: wire.PoolRequest) =>
      encodeOperation(await operations.run(kind, operationIdOf(q), checkId('pool', q.poolId))),
    );
  const ofImage = (name: string, kind: PoolImages['ensure']) =>
    guard.operation(name, async (q: wire.PoolImageRequest) => {
      const wanted: PoolImageWanted = { poolId: checkId('pool', q.poolId), digest: checkDigest(q.digest) };
      return encodeOperation(await operations.run(kind, operationIdOf(q), wanted));
    });
  return {
    ensurePool: guard.operation('EnsurePool', async (q) => {
      const spec = checkPoolSpec(readSpec(present('pool', q.spec)));
      const wanted = { spec, marked: q.marked, secret: Buffer.from(q.secret).toString('base64') };
      return encodeOperation(await operations.run(pools.ensure, operationIdOf(q), wanted));
    }),
    stopPool: verb('StopPool', pools.stop),
    removePool: verb('RemovePool', pools.remove),
    refreshPool: verb('RefreshPool', pools.refresh),
    ensurePoolImage: ofImage('EnsurePoolImage', images.ensure),
    removePoolImage: ofImage('RemovePoolImage', images.remove),
    listPools: guard.read('ListPools', async () => ({ pools: (await watch.observe()).map(encodePool) })),
  };
}

const readSpec = (s: wire.PoolSpec): PoolSpec => ({
  ...{ poolId: s.poolId, name: s.name, shared: s.shared, autostart: s.autostart },
  generation: toNumber('the generation', s.generation),
  source: {
    ...{ type: s.type as PoolType, targetPath: s.targetPath, hosts: s.sourceHosts, path: s.sourcePath },
    ...{ name: s.sourceName, devices: s.devices, format: s.format },
    ...{ initiator: s.initiator, adapter: s.adapter, authUser: s.authUser },
  },
});

export const encodePool = (p: PoolSeen): wire.PoolStatus => ({
  ...{ poolId: p.poolId, name: p.name, uuid: p.uuid, type: p.type, state: p.state, reason: p.reason },
  capacityBytes: toWire(p.capacityBytes),
  allocationBytes: toWire(p.allocationBytes),
  availableBytes: toWire(p.availableBytes),
  volumesAllocatedBytes: toWire(p.volumesAllocatedBytes),
  targetPath: p.targetPath,
  generation: toWire(p.generation),
  imageDigests: [...p.imageDigests],
  units: (p.units ?? []).map((u) => ({ name: u.name, sizeBytes: toWire(u.sizeBytes), key: u.key })),
});
