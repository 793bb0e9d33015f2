/** A volume as jobs work on it, whether it stands alone or is a disk of a VM: where it lies, and its row changed. */
import { badState, ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId, ImageId, PoolId, VmId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Vm, VmDisk, VmSpec } from '@berth/shared/model/vm.ts';
import { diskName, type Volume } from '@berth/shared/model/volume.ts';
import type { Tables, Tx } from '../state/state.ts';
import { getVm } from './making.ts';

export interface WhichVolume {
  readonly volumeId: VolumeId;
  /** Whose disk it is; absent: it stands alone. */
  readonly vmId?: VmId;
}

export interface Where {
  readonly format: Volume['format'];
  /** Of the image that it is based on; null: none. */
  readonly imageDigest: string | null;
  readonly hostId: HostId;
  readonly host: string;
  /** Of the volume. */
  readonly name: string;
  readonly sizeBytes: number;
  /** Null: `local`. */
  readonly poolId: PoolId | null;
}

export function whereIs(tables: Tables, { volumeId, vmId }: WhichVolume): Where {
  const found = vmId === undefined ? ofNobody(tables, volumeId) : ofVm(tables, vmId, volumeId);
  const { hostId, name, sizeBytes, format, imageId, poolId = null } = found;
  if (hostId === undefined) throw badState(`volume ${name} is on no host yet`);
  const imageDigest = (imageId && tables.images.get(imageId)?.digest) ?? null;
  return { hostId, host: tables.hosts.get(hostId)?.name ?? hostId, name, sizeBytes, format, imageDigest, poolId };
}

/** That it is based on. */
export const imageOf = (tables: Tables, { volumeId, vmId }: WhichVolume): ImageId | undefined =>
  (vmId === undefined ? ofNobody(tables, volumeId) : ofVm(tables, vmId, volumeId)).imageId;

interface Found {
  readonly format: Volume['format'];
  readonly imageId: Volume['imageId'];
  readonly hostId: HostId | undefined;
  readonly name: string;
  readonly sizeBytes: number;
  readonly poolId?: PoolId | undefined;
}

function ofNobody(tables: Tables, id: VolumeId): Found {
  const volume = tables.volumes.get(id);
  if (!volume) throw new ClusterError('NOT_FOUND', `volume ${id} does not exist any more`);
  return volume;
}

function ofVm(tables: Tables, vmId: VmId, volumeId: VolumeId): Found {
  const vm = getVm(tables, vmId);
  const disk = diskOf(vm, volumeId);
  const { sizeBytes, imageId, options, poolId } = disk;
  const name = diskName(vm.name, disk.target);
  return { hostId: vm.hostId, name, sizeBytes, format: options?.format ?? 'qcow2', imageId, poolId };
}

export function diskOf(vm: Vm, volumeId: VolumeId): VmDisk {
  const disk = vm.spec.disks.find((d) => d.volumeId === volumeId);
  if (!disk) throw new ClusterError('NOT_FOUND', `vm ${vm.name} has no disk ${volumeId} any more`);
  return disk;
}

/** A copy of it that a host has yet to remove. @param hostId absent: any host. */
export const debtOfVolume = (
  { debts }: Pick<Tables, 'debts'>,
  volumeId: VolumeId,
  hostId?: HostId,
): CleanupDebt | undefined =>
  [...(hostId === undefined ? debts.values() : debts.byHost(hostId))].find(
    (d) => d.kind === 'volume' && d.target === volumeId,
  );

interface Change {
  readonly sizeBytes?: number;
  readonly format?: Volume['format'];
  /** Null: `local`. Absent: it stays. */
  readonly poolId?: PoolId | null;
  /** It rests on no image any more. */
  readonly full?: boolean;
}

function inPool<D extends { readonly poolId?: PoolId | undefined }>(d: D, to: PoolId | null | undefined): D {
  if (to === undefined) return d;
  const { poolId: _, ...rest } = d;
  return { ...(rest as D), ...(to !== null && { poolId: to }) };
}

/** In its row, or in all that is said of its VM. */
export function changeVolume(
  tx: Tx,
  tables: Tables,
  { volumeId, vmId }: WhichVolume,
  { poolId, full = false, ...change }: Change,
): void {
  if (vmId === undefined) {
    const volume = tables.volumes.get(volumeId);
    const isFlat = full || (change.format !== undefined && change.format !== 'qcow2');
    const flat = isFlat && { imageId: undefined };
    if (volume) tx.volumes.put({ ...inPool(volume, poolId), ...change, ...flat });
    return;
  }
  const vm = getVm(tables, vmId);
  const disks = (spec: VmSpec): VmSpec => ({
    ...spec,
    disks: spec.disks.map((d) => (d.volumeId === volumeId ? changedDisk(inPool(d, poolId), { ...change, full }) : d)),
  });
  tx.vms.put({ ...vm, spec: disks(vm.spec), ...(vm.live && { live: disks(vm.live) }), generation: vm.generation + 1 });
}

function changedDisk(d: VmDisk, { sizeBytes, format, full = false }: Omit<Change, 'poolId'>): VmDisk {
  const { format: was, ...options } = d.options ?? {};
  const kept = format ?? was ?? 'qcow2';
  const all = { ...options, ...(kept === 'raw' && { format: kept }) };
  const { options: _, ...rest } = d;
  return {
    ...{ ...rest, sizeBytes: sizeBytes ?? d.sizeBytes, imageId: full || kept === 'raw' ? undefined : d.imageId },
    ...(Object.keys(all).length > 0 && { options: all }),
  };
}
