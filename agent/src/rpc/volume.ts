/** VolumeService on the wire. */
import type * as wire from '@berth/proto/agent/v1/volume.ts';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeFormat } from '../drivers/disks.ts';
import { checkId } from '../ids.ts';
import type { Operations } from '../operations/operations.ts';
import type { Seed } from '../volume/seed-files.ts';
import { checkFull, checkSeedWanted, checkVolumeSpec, type Volumes } from '../volume/volumes.ts';
import { operationIdOf, orUndefined, present, toNumber } from './decode.ts';
import { encodeOperation, encodeVolume } from './encode.ts';
import type { Guard } from './guard.ts';

export function volumeService(guard: Guard, operations: Operations, volumes: Volumes): wire.VolumeServiceServer {
  return {
    ensureVolume: guard.operation('EnsureVolume', async (q) => {
      const spec = checkVolumeSpec({
        volumeId: q.volumeId,
        vmId: q.vmId,
        imageDigest: orUndefined(q.imageDigest),
        sizeBytes: toNumber('the size', q.sizeBytes),
        format: readFormat(q.volumeId, q.format),
        ...(q.poolId && { poolId: checkId('pool', q.poolId) }),
        ...(q.instant === true && { instant: true }),
      });
      if (volumes.isOfBlocks(spec))
        return encodeOperation(await operations.run(volumes.ensureBlock, operationIdOf(q), spec));
      if (q.full === true)
        return encodeOperation(await operations.run(volumes.ensureFull, operationIdOf(q), checkFull(spec)));
      return encodeOperation(await operations.run(volumes.ensure, operationIdOf(q), spec));
    }),
    ensureSeed: guard.operation('EnsureSeed', async (q) => {
      const wanted = { volumeId: q.volumeId, vmId: q.vmId, seed: readSeed(present('seed', q.seed)) };
      return encodeOperation(await operations.run(volumes.ensureSeed, operationIdOf(q), checkSeedWanted(wanted)));
    }),
    removeVolume: guard.operation('RemoveVolume', async (q) =>
      encodeOperation(await operations.run(volumes.remove, operationIdOf(q), checkId('volume', q.volumeId))),
    ),
    listVolumes: guard.read('ListVolumes', async () => ({ volumes: (await volumes.list()).map(encodeVolume) })),
  };
}

function readFormat(volumeId: string, format: string | undefined): VolumeFormat | undefined {
  if (format === undefined || format === 'qcow2' || format === 'raw') return format === 'qcow2' ? undefined : format;
  throw invalidArgument(
    `volume ${volumeId.slice(0, 80)}: its format must be qcow2 or raw, not ${JSON.stringify(format.slice(0, 20))}`,
  );
}

const readSeed = (s: wire.Seed): Seed => ({
  instanceId: s.instanceId,
  hostname: s.hostname,
  nics: s.nics.map((n) => ({ mac: n.mac, address: n.address, gateway: n.gateway, dns: n.dns })),
  sshKeys: s.sshKeys,
  userData: s.userData,
});
