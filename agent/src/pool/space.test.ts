/** Guests that found no room go on when there is some, and nobody else does. */
import { expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import type { PoolSeen } from '@berth/shared/model/pool.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { DomainSeen, HypervisorEvent } from '../drivers/hypervisor.ts';
import { metadataXml } from '../domain/metadata.ts';
import { SpaceKeeper } from './space.ts';

const GIB = 2 ** 30;

function world(reason: DomainSeen['reason'], volumes: Pick<VolumeSeen, 'poolId'>[]) {
  const clock = new SimClock();
  let tell: (e: HypervisorEvent) => void = () => undefined;
  const domain: DomainSeen = {
    ...{ uuid: 'u', name: 'web', power: 'paused', reason, persistent: true, memoryBytes: 0, vcpus: 1 },
    metadataXml: metadataXml({ vmId: 'vm-1', generation: 1, specHash: '', definitionHash: '', fixed: [] }),
  };
  const w = { free: 0, pool: 'active' as PoolSeen['state'], poolFree: GIB, resumed: 0, clock };
  const keeper = new SpaceKeeper({
    hypervisor: {
      subscribe: (l) => ((tell = l), () => undefined),
      list: async () => [domain],
      resume: async () => void w.resumed++,
    },
    disks: {
      capacity: async () => ({ diskBytes: 10 * GIB, diskFreeBytes: w.free }),
      listVolumes: async () => volumes.map((v) => ({ vmId: 'vm-1', ...v }) as VolumeSeen),
    },
    watch: {
      room: async () => ({ state: w.pool, capacityBytes: 10 * GIB, availableBytes: w.poolFree }) as PoolSeen,
    },
    clock,
    log: createLog('test', 'silent'),
  });
  keeper.start();
  tell({ type: 'domain', uuid: 'u', seen: domain });
  return w;
}

it('goes on when there is room where its disks lie, and not before', async () => {
  const w = world('no-space', [{ poolId: undefined }]);
  await w.clock.advance(20_000);
  expect(w.resumed).toBe(0);
  w.free = GIB;
  await w.clock.advance(4_000);
  expect(w.resumed).toBe(1);
});

it('is let go again and again while it fills up at once, but not more often than every few seconds', async () => {
  const w = world('no-space', [{ poolId: undefined }]);
  w.free = GIB;
  await w.clock.advance(20_000);
  expect(w.resumed).toBeGreaterThan(1);
  expect(w.resumed).toBeLessThan(5);
});

it('needs room in all pools that it has disks in, and that they are up', async () => {
  const w = world('no-space', [{ poolId: undefined }, { poolId: 'pool-1' }]);
  Object.assign(w, { free: GIB, poolFree: 0 });
  await w.clock.advance(10_000);
  Object.assign(w, { poolFree: GIB, pool: 'silent' });
  await w.clock.advance(10_000);
  expect(w.resumed).toBe(0);
  w.pool = 'active';
  await w.clock.advance(4_000);
  expect(w.resumed).toBe(1);
});

it.each(['user', 'io-error'] as const)('leaves one alone that is paused for another reason: %s', async (reason) => {
  const w = world(reason, [{ poolId: undefined }]);
  w.free = GIB;
  await w.clock.advance(20_000);
  expect(w.resumed).toBe(0);
});
