/**
 * The operations behind VolumeDataService: whose a volume is, its size. They take turns with the other operations of the volume.
 * What becomes of the file is the driver's.
 */
import { badState, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { formatOf, type AllDisks, type MakeSpec, type RewriteSpec } from '../drivers/volume-work.ts';
import { checkBytes, checkDigest, checkId } from '../ids.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { refuseSnapshots } from './snapshots-in.ts';
import { filesOf, insistUnused, userOf } from './using.ts';
import { insistOne, insistWhole, moving } from './whole.ts';

export interface VolumeDataDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getXml' | 'getRunningXml' | 'devices' | 'snapshots'>;
  readonly disks: AllDisks;
  readonly operations: Operations;
}

export interface AssignWanted {
  readonly volumeId: string;
  /** Empty: nobody's. */
  readonly from: string;
  readonly to: string;
}

export interface ResizeWanted {
  readonly volumeId: string;
  readonly sizeBytes: number;
  readonly shrink: boolean;
}

export interface RewriteWanted extends RewriteSpec {
  readonly volumeId: string;
}

export interface WipeWanted {
  readonly volumeId: string;
}

const SECTOR = 512;
const MAX_DISK_BYTES = 2 ** 50 - SECTOR;
/** Full preallocation writes all of a disk. */
const MAKES_AT_ONCE = 4;
const RESIZES_AT_ONCE = 8;
/** Each reads and writes a whole disk. */
const REWRITES_AT_ONCE = 2;

export function checkMakeSpec(v: MakeSpec): MakeSpec {
  checkId('volume', v.volumeId);
  if (v.vmId !== '') checkId('vm', v.vmId);
  if (v.imageDigest !== undefined) checkDigest(v.imageDigest);
  checkBytes(`volume ${v.volumeId}: a size`, v.sizeBytes, SECTOR, MAX_DISK_BYTES);
  if (!['off', 'metadata', 'falloc', 'full'].includes(v.preallocation))
    throw invalidArgument(`volume ${v.volumeId}: preallocation must be off, metadata, falloc or full`);
  return v;
}

export function checkAssign(w: AssignWanted): AssignWanted {
  checkId('volume', w.volumeId);
  for (const owner of [w.from, w.to]) if (owner !== '') checkId('vm', owner);
  return w;
}

export function checkResize(w: ResizeWanted): ResizeWanted {
  checkId('volume', w.volumeId);
  checkBytes(`volume ${w.volumeId}: a size`, w.sizeBytes, SECTOR, MAX_DISK_BYTES);
  return w;
}

export function checkRewrite(w: RewriteWanted): RewriteWanted {
  if (w.imageDigest !== undefined) checkDigest(w.imageDigest);
  return checkVolumeId(w);
}

export function checkVolumeId<W extends { readonly volumeId: string }>(w: W): W {
  checkId('volume', w.volumeId);
  return w;
}

export class VolumeData {
  readonly make: OperationKind<MakeSpec>;
  readonly assign: OperationKind<AssignWanted>;
  readonly resize: OperationKind<ResizeWanted>;
  readonly rewrite: OperationKind<RewriteWanted>;
  readonly wipe: OperationKind<WipeWanted>;

  constructor(private readonly deps: VolumeDataDeps) {
    const { operations, disks } = deps;
    const lockKey = (w: { readonly volumeId: string }): string => `volume/${w.volumeId}`;
    this.make = operations.define<MakeSpec>({
      ...{ name: 'volume.make', long: { atOnce: MAKES_AT_ONCE }, lockKey },
      run: (spec, work) => disks.work.make(spec, work),
    });
    this.assign = operations.define<AssignWanted>({
      ...{ name: 'volume.assign', lockKey },
      run: async ({ volumeId, from, to }) => {
        const volume = await disks.findVolume(volumeId);
        if (volume && volume.vmId !== to) {
          await insistUnused(deps, volume);
          await insistOne(disks, volumeId);
          await refuseSnapshots(deps, volume);
        }
        await disks.work.assign(volumeId, { from, to });
      },
    });
    this.resize = operations.define<ResizeWanted>({
      ...{ name: 'volume.resize', long: { atOnce: RESIZES_AT_ONCE }, lockKey },
      run: (w, work) => this.doResize(w, work),
      abandon: ({ volumeId }) => disks.work.settle(volumeId),
    });
    const whole = { long: { atOnce: REWRITES_AT_ONCE }, lockKey };
    this.rewrite = operations.define<RewriteWanted>({
      ...{ name: 'volume.rewrite', ...whole },
      run: async ({ volumeId, ...wanted }, work) => {
        const volume = await this.need(volumeId);
        // what takes a rewrite back that was refused must not be refused for the same reason
        if (wanted.ifOther && formatOf(volume) === wanted.format && volume.imageDigest === wanted.imageDigest) return;
        await insistUnused(deps, volume);
        await insistWhole(disks, volume);
        await refuseSnapshots(deps, volume);
        // somebody may start its guest by hand meanwhile
        await disks.work.rewrite(volumeId, wanted, work, () => insistUnused(deps, volume));
      },
      abandon: ({ volumeId }) => disks.work.settle(volumeId),
    });
    this.wipe = operations.define<WipeWanted>({
      ...{ name: 'volume.wipe', ...whole },
      run: async ({ volumeId }, work) => {
        const volume = await this.need(volumeId);
        await insistUnused(deps, volume);
        await insistOne(disks, volumeId);
        await refuseSnapshots(deps, volume);
        await disks.work.wipe(volumeId, work);
      },
      abandon: ({ volumeId }) => disks.work.settle(volumeId),
    });
  }

  private async need(volumeId: string): Promise<VolumeSeen> {
    const volume = await this.deps.disks.findVolume(volumeId);
    if (volume === undefined || volume.seed) throw notFound(`volume ${volumeId} is not on this host`);
    return volume;
  }

  private async doResize({ volumeId, sizeBytes, shrink }: ResizeWanted, work: Work): Promise<void> {
    const { disks, hypervisor } = this.deps;
    const volume = await this.need(volumeId);
    if (sizeBytes !== volume.sizeBytes) await refuseSnapshots(this.deps, volume);
    const user = await userOf(hypervisor, filesOf(disks, volume));
    if (user === undefined) {
      await insistWhole(disks, volume);
      return disks.work.resize(volumeId, sizeBytes, { shrink }, work, () => insistUnused(this.deps, volume));
    }
    if (sizeBytes < volume.sizeBytes)
      throw badState(
        `disk ${user.target} of vm ${user.name} has ${formatBytes(volume.sizeBytes)}: it cannot become smaller while the vm runs. Stop it first`,
      );
    if (await disks.isMoving(volumeId)) throw moving(volumeId);
    // the device itself grows by other means than QEMU's; then QEMU is told, also when it was before
    const device = volume.source?.type === 'block';
    if (device) await disks.work.resize(volumeId, sizeBytes, { shrink }, work);
    if (device || sizeBytes > volume.sizeBytes) await hypervisor.devices.resizeDisk(user.uuid, user.target, sizeBytes);
    await disks.work.noteSize(volumeId, sizeBytes);
  }
}
