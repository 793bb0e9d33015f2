/** The operations behind VolumeService: checks, turns per volume, and the disk driver. */
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, VolumeSeen, VolumeSpec } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { BlockDisks } from '../pool/pool-volumes.ts';
import { checkBytes, checkDigest, checkId } from '../ids.ts';
import { readMark } from '../domain/metadata.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { insistUnused } from './using.ts';
import { seedFiles, type Seed } from './seed-files.ts';

export interface SeedWanted {
  readonly volumeId: string;
  readonly vmId: string;
  readonly seed: Seed;
}

export interface VolumeDeps {
  readonly hypervisor: Hypervisor;
  readonly disks: Disks & BlockDisks;
  readonly operations: Operations;
}

/** Each reads and writes as fast as the disk goes. */
const FULL_AT_ONCE = 2;
const SECTOR = 512;
const MAX_DISK_BYTES = 2 ** 50 - SECTOR;
const OFF: ReadonlySet<string> = new Set(['stopped', 'crashed']);

/** @throws INVALID_ARGUMENT */
export function checkVolumeSpec(v: VolumeSpec): VolumeSpec {
  checkId('volume', v.volumeId);
  checkId('vm', v.vmId);
  if (v.imageDigest !== undefined) checkDigest(v.imageDigest);
  // 0 with an image: as large as the image
  checkBytes(`volume ${v.volumeId}: a size`, v.sizeBytes, v.imageDigest === undefined ? SECTOR : 0, MAX_DISK_BYTES);
  return v;
}

export type FullSpec = VolumeSpec & { readonly imageDigest: string };

/** @throws INVALID_ARGUMENT */
export function checkFull(v: VolumeSpec): FullSpec {
  const { imageDigest } = checkVolumeSpec(v);
  if (imageDigest === undefined) throw invalidArgument(`volume ${v.volumeId} is to be a copy, and of no image`);
  if (v.format === 'raw') throw invalidArgument(`volume ${v.volumeId} cannot be raw: a copy of an image is qcow2`);
  return { ...v, imageDigest };
}

export function checkSeedWanted(s: SeedWanted): SeedWanted {
  checkId('volume', s.volumeId);
  checkId('vm', s.vmId);
  seedFiles(s.seed);
  return s;
}

export class Volumes {
  readonly ensure: OperationKind<VolumeSpec>;
  /** A copy of an image. */
  readonly ensureFull: OperationKind<FullSpec>;
  /** In a pool that holds no files. */
  readonly ensureBlock: OperationKind<VolumeSpec>;
  readonly ensureSeed: OperationKind<SeedWanted>;
  readonly remove: OperationKind<string>;

  constructor(private readonly deps: VolumeDeps) {
    const { operations, disks } = deps;
    this.ensure = operations.define<VolumeSpec>({
      name: 'volume.ensure',
      lockKey: (v) => `volume/${v.volumeId}`,
      run: (v) => disks.ensureVolume(v),
    });
    this.ensureFull = operations.define<FullSpec>({
      ...{ name: 'volume.ensureFull', long: { atOnce: FULL_AT_ONCE } },
      lockKey: (v) => `volume/${v.volumeId}`,
      run: (v, work) => disks.ensureFullClone(v, work),
    });
    this.ensureBlock = operations.define<VolumeSpec>({
      ...{ name: 'volume.ensureBlock', long: { atOnce: FULL_AT_ONCE } },
      lockKey: (v) => `volume/${v.volumeId}`,
      run: (v, work) => disks.ensureBlockVolume(v, work),
    });
    this.ensureSeed = operations.define<SeedWanted>({
      name: 'volume.ensureSeed',
      lockKey: (s) => `volume/${s.volumeId}`,
      run: (s) => disks.ensureSeed({ volumeId: s.volumeId, vmId: s.vmId, files: seedFiles(s.seed) }),
    });
    this.remove = operations.define<string>({
      name: 'volume.remove',
      lockKey: (id) => `volume/${id}`,
      run: (id) => this.doRemove(id),
    });
  }

  isOfBlocks = (v: VolumeSpec): boolean => this.deps.disks.isOfBlocks(v);

  list(): Promise<readonly VolumeSeen[]> {
    return this.deps.disks.listVolumes();
  }

  private async doRemove(volumeId: string): Promise<void> {
    const volume = await this.deps.disks.findVolume(volumeId);
    if (volume?.vmId === '') await insistUnused(this.deps, volume);
    else if (volume !== undefined) await this.refuseWhileRunning(volume);
    await this.deps.disks.removeVolume(volumeId);
  }

  /** A volume belongs to one VM, so it is in use when that VM's domain runs. */
  private async refuseWhileRunning(volume: VolumeSeen): Promise<void> {
    const user = (await this.deps.hypervisor.list()).find(
      (d) => !OFF.has(d.power) && readMark(d.metadataXml)?.vmId === volume.vmId,
    );
    if (user)
      throw new ClusterError(
        'IN_USE',
        `volume ${volume.volumeId} is in use: vm ${user.name} is ${user.power} on this host`,
      );
  }
}
