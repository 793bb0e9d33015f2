/** What volumes that nobody uses may become: another format, or blank. Talks to no host. */
import { badState, invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { diskName, isForeign, KEPT_FORMATS, type KeptFormat } from '@berth/shared/model/volume.ts';
import type { Vm, VmDisk } from '@berth/shared/model/vm.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import type { FoundVolume } from './volume-names.ts';
import { fillingOf } from './vm-fillings.ts';
import { poolName } from './vm-pools.ts';
import { viewVm } from './vm-view.ts';

/** @throws BAD_STATE, INVALID_ARGUMENT, UNSUPPORTED: it lies where disks are raw */
export function formatWanted(format: string, found: FoundVolume, tables: Tables): KeptFormat {
  const wanted = KEPT_FORMATS.find((f) => f === format);
  if (wanted && wanted !== 'raw') insistMayConvert(found, wanted, tables);
  if (wanted && found.vm && isForeign(wanted))
    throw badState(
      `disk ${found.disk.target} is one of vm ${found.vm.name}, and no vm runs with ${wanted}: detach it first ` +
        `(berth volume detach ${found.vm.name}/${found.disk.target}), or take a file of it (berth volume download)`,
    );
  if (wanted) return wanted;
  const given = JSON.stringify(format.slice(0, 20));
  throw invalidArgument(`a volume is ${KEPT_FORMATS.join(', ')}, not ${given}`);
}

function insistMayConvert(found: FoundVolume, wanted: KeptFormat, tables: Tables): void {
  const { poolId, unit } = found.vm ? found.disk : found.volume;
  const name = found.vm ? diskName(found.vm.name, found.disk.target) : found.volume.name;
  if (poolId && isForeign(wanted) && !isOfBlocks(tables, poolId))
    throw unsupported(
      `volume ${name} lies in pool ${poolName(tables, poolId)}: as ${wanted} volumes are kept in pool local only. Take it as a file ` +
        `(berth volume download ${name} ${name}.${wanted}), or move it there first (berth volume move ${name} --pool local)`,
    );
  if (!isOfBlocks(tables, poolId)) return;
  const moved = unit ? '' : `, or move it to pool local (berth volume move ${name} --pool local) and convert it there`;
  throw unsupported(
    `volume ${name} lies in pool ${poolName(tables, poolId)}, where disks are raw and nothing else. Take it as a file ` +
      `(berth volume download ${name} ${name}.${wanted})${moved}`,
  );
}

/** Where something can be done besides pools of files. */
export interface InPools {
  /** In pools of Ceph, LVM and LUNs. */
  readonly blocks: boolean;
  /** Before all of its image is on its host, too. */
  readonly unfilled?: true;
}

interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly nowMs: number;
}

/**
 * A guest would go on with a disk that is not as it knows it.
 * @param instead what else can be done with a disk of a VM that is on, in words @throws BAD_STATE, UNSUPPORTED
 */
export function insistOff(found: FoundVolume, seen: Seen, may: InPools, instead = ''): void {
  insistPlace(found, seen.tables, may);
  if (!found.vm) return;
  const { name } = found.vm;
  const { state } = viewVm(found.vm, seen);
  if (state === 'stopped' || state === 'crashed')
    return may.unfilled ? undefined : insistFilled(found.vm, found.disk, seen);
  const way = state === 'saved' ? 'Start it, then stop it' : `Stop it first (berth vm stop ${name})${instead}`;
  throw badState(`disk ${found.disk.target} is one of vm ${name}, which is ${state}. ${way}`);
}

function insistFilled(vm: Vm, disk: VmDisk, seen: Seen): void {
  const filling = fillingOf(vm, disk, seen);
  if (filling === undefined) return;
  const host = (vm.hostId && seen.tables.hosts.get(vm.hostId)?.name) ?? 'its host';
  const share = Math.floor((100 * filling.localBytes) / Math.max(1, filling.totalBytes));
  throw badState(
    `disk ${disk.target} of vm ${vm.name} rests on image ${filling.imageName}, of which ${share} % is on ${host} yet. ` +
      `Try again when all of it is there (berth vm show ${vm.name})`,
  );
}

function insistPlace(found: FoundVolume, tables: Tables, may: InPools): void {
  const { poolId } = found.vm ? found.disk : found.volume;
  if (may.blocks || !isOfBlocks(tables, poolId)) return;
  const what = found.vm ? `disk ${found.disk.target} of vm ${found.vm.name}` : `volume ${found.volume.name}`;
  throw unsupported(
    `${what} lies in pool ${poolName(tables, poolId)}, which holds no files: there it stays as it is. Move it to pool local first ` +
      `(berth volume move)`,
  );
}

/** In a pool of files an agent could not do that before. */
export const inFiles = (found: FoundVolume, tables: Tables): boolean => {
  const { poolId } = found.vm ? found.disk : found.volume;
  return poolId !== undefined && !isOfBlocks(tables, poolId);
};

/** @throws UNSUPPORTED */
export function insistMayShrink(name: string, found: FoundVolume, tables: Tables, wantedBytes: number): void {
  const { poolId, imageId } = found.vm ? found.disk : found.volume;
  const image = imageId && tables.images.get(imageId);
  if (image && wantedBytes < (image.virtualSizeBytes ?? 0))
    throw badState(
      `volume ${name} cannot become smaller than its image ${image.name}, which has ${formatBytes(image.virtualSizeBytes ?? 0)}`,
    );
  if (!isOfBlocks(tables, poolId)) return;
  throw unsupported(
    `volume ${name} lies in pool ${poolName(tables, poolId)}, which holds no files: there it can only become larger. ` +
      `Move it to pool local first (berth volume move)`,
  );
}
