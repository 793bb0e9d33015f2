/** What is said of a file that shall become a volume: checks, and the rows and parameters that come of it. Talks to no host. */
import {
  alreadyExists,
  badState,
  ClusterError,
  invalidArgument,
  unsupported,
} from '@berth/shared/errors/cluster-error.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';
import { newId, type HostId, type PoolId } from '@berth/shared/model/ids.ts';
import { VOLUME_FORMATS, type Volume, type VolumeFormat } from '@berth/shared/model/volume.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { noCapacity } from '../jobs/refused.ts';
import type { UploadParams } from '../jobs/volume-upload.ts';
import { volumeRequest, type WorldView } from '../jobs/world.ts';
import { place } from '../scheduler/place.ts';
import type { PlacementRequest } from '../scheduler/world.ts';
import type { Tables } from '../state/state.ts';
import { checkName, resolve } from './names.ts';
import { volumesNamed, type FoundVolume } from './volume-names.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import { viewVolume } from './volume-view.ts';
import { diskPool, poolName } from './vm-pools.ts';

/** Of the file. */
export interface UploadFile {
  readonly fileBytes: number;
  /** 0: all. */
  readonly allocatedBytes: number;
  /** Empty: find out. */
  readonly format: string;
  /** Of the disk in it; 0: as it is. */
  readonly sizeBytes: number;
}

export interface UploadVolume {
  readonly name: string;
  readonly file: UploadFile;
  /** Of the volume; empty: qcow2. */
  readonly format: string;
  /** Empty: whichever has room. */
  readonly host: string;
  /** Empty: local. */
  readonly pool: string;
  readonly labels: Labels;
}

interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly nowMs: number;
  readonly world: WorldView;
}

export interface UploadWanted {
  readonly params: UploadParams;
  /** Of a new volume. */
  readonly row: Volume | undefined;
  readonly name: string;
}

const LARGEST_FILE = 16 * 1024 ** 4;
const LARGEST_DISK = 64 * 1024 ** 4;
const SECTOR = 512;
const FILE_FORMATS: readonly string[] = ['', 'raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'];

/** @throws INVALID_ARGUMENT */
export function checkFile(name: string, f: UploadFile): UploadFile {
  const { fileBytes, allocatedBytes, format, sizeBytes } = f;
  if (fileBytes === 0) throw invalidArgument(`the file for volume ${name} is empty`);
  if (fileBytes > LARGEST_FILE)
    throw invalidArgument(`the file for volume ${name} is larger than ${formatBytes(LARGEST_FILE)}`);
  if (sizeBytes % SECTOR !== 0 || sizeBytes > LARGEST_DISK)
    throw invalidArgument(`volume ${name} cannot have ${sizeBytes} bytes: a multiple of ${SECTOR}, at most 64 TiB`);
  if (!FILE_FORMATS.includes(format))
    throw invalidArgument(
      `${JSON.stringify(format.slice(0, 40))} is no known format of a file: ${FILE_FORMATS.slice(1).join(', ')}`,
    );
  return { ...f, allocatedBytes: Math.min(allocatedBytes || fileBytes, fileBytes) };
}

/** In a pool that holds no files: raw. @throws INVALID_ARGUMENT */
function volumeFormat(
  { name, poolId }: { readonly name: string; readonly poolId?: PoolId | undefined },
  said: string,
  otherwise: VolumeFormat,
  tables: Tables,
): VolumeFormat {
  const blocks = isOfBlocks(tables, poolId);
  const format = said === '' ? (blocks ? 'raw' : otherwise) : VOLUME_FORMATS.find((f) => f === said);
  if (blocks && format === 'qcow2')
    throw invalidArgument(
      `volume ${name} cannot be qcow2: pool ${poolName(tables, poolId)} holds no files, and what lies there is raw. Leave the format out`,
    );
  if (format) return format;
  throw invalidArgument(`a volume is ${VOLUME_FORMATS.join(' or ')}, not ${JSON.stringify(said.slice(0, 20))}`);
}

/** What is not known yet is at least so much. */
const expectedBytes = ({ sizeBytes, fileBytes }: UploadFile): number =>
  sizeBytes || Math.ceil(fileBytes / SECTOR) * SECTOR;

/** @throws INVALID_ARGUMENT, ALREADY_EXISTS, NO_CAPACITY */
export function newUpload(r: UploadVolume, seen: Seen): UploadWanted {
  const { tables, nowMs } = seen;
  const name = checkName('volume', r.name);
  const file = checkFile(name, r.file);
  const [taken] = volumesNamed(tables, name);
  if (taken) throw takenBy(name, taken);
  const pool = diskPool(tables, r.pool, `volume ${name}:`);
  const format = volumeFormat({ name, ...pool }, r.format, 'qcow2', tables);
  const only = r.host === '' ? undefined : resolve('host', tables.hosts, r.host).id;
  const sizeBytes = expectedBytes(file);
  const answer = seen.world.place(requestFor({ sizeBytes, poolId: pool.poolId }, tables, only));
  if (!('hostId' in answer)) throw noCapacity({ name }, answer.refusals, 'volume');
  const { hostId } = answer;
  const id = newId('volume', nowMs);
  const about = { id, name, state: 'creating' as const, hostId, ...pool, sizeBytes, format, imageId: undefined };
  const row: Volume = { ...about, labels: checkLabels('a volume', r.labels), createdAtMs: nowMs };
  return { name, row, params: paramsOf(file, { row, contentId: id, hostId, format }) };
}

function takenBy(name: string, taken: FoundVolume): Error {
  if (taken.vm) return alreadyExists(`volume ${name} exists already: it is a disk of vm ${taken.vm.name}`);
  return alreadyExists(
    `volume ${name} exists already. Choose another name, or say --overwrite to put this in its place`,
  );
}

/** @throws INVALID_ARGUMENT, IN_USE, BAD_STATE, NO_CAPACITY, UNSUPPORTED */
export function replacement(found: FoundVolume, r: { file: UploadFile; format: string }, seen: Seen): UploadWanted {
  const { tables, hosts, nowMs, world } = seen;
  const { name, state, hostId, hostName, format: was, poolId } = viewVolume(found, { tables, hosts });
  if (found.vm)
    throw new ClusterError(
      'IN_USE',
      `volume ${name} is disk ${found.disk.target} of vm ${found.vm.name}: nothing is written over it. Detach it first ` +
        `(berth volume detach ${found.vm.name}/${found.disk.target})`,
    );
  if (state === 'creating' || state === 'deleting' || hostId === undefined)
    throw badState(`volume ${name} is being ${state === 'deleting' ? 'deleted' : 'made'}`);
  insistNoUnit(found.volume, poolName(tables, poolId));
  for (const needed of needs(tables, poolId)) needCapability({ name: hostName }, hosts.status(hostId).facts, needed);
  const file = checkFile(name, r.file);
  const answer = place(world.now(), requestFor({ sizeBytes: expectedBytes(file), poolId }, tables, hostId));
  // a host that takes nothing new keeps what it has
  const full = 'hostId' in answer ? [] : answer.refusals.filter((f) => f.filter === 'disk' || f.filter === 'pool');
  if (full.length > 0) throw noCapacity({ name }, full, 'volume');
  const format = volumeFormat({ name, poolId }, r.format, was === 'raw' ? 'raw' : 'qcow2', tables);
  const params = paramsOf(file, { row: found.volume, contentId: newId('volume', nowMs), hostId, format });
  return { name, row: undefined, params };
}

/** Half of an upload would look whole there: a unit is there before it. */
function insistNoUnit({ name, unit }: Pick<Volume, 'name' | 'unit'>, pool: string): void {
  if (unit)
    throw unsupported(
      `volume ${name} is ${unit.name} of pool ${pool}, and nothing can be put in the place of that. Attach it to a vm ` +
        `(berth volume attach) and write it there, or upload to a volume of another pool`,
    );
}

const needs = (tables: Tables, poolId: PoolId | undefined) =>
  isOfBlocks(tables, poolId) ? (['volume.upload', 'volume.block-io'] as const) : (['volume.upload'] as const);

function requestFor(
  v: Pick<Volume, 'sizeBytes' | 'poolId'>,
  tables: Tables,
  only: HostId | undefined,
): PlacementRequest {
  const request = volumeRequest({ ...v, imageId: undefined }, tables, only);
  return { ...request, capabilities: [...(request.capabilities ?? []), ...needs(tables, v.poolId)] };
}

function paramsOf(
  { format: fileFormat, ...file }: UploadFile,
  v: { row: Volume } & Pick<UploadParams, 'contentId' | 'hostId' | 'format'>,
): UploadParams {
  const { row, ...rest } = v;
  return { volumeId: row.id, ...rest, poolId: row.poolId ?? null, ...file, fileFormat };
}

/** What is said again of an upload that goes on. */
export type UploadAgain = Pick<UploadVolume, 'file' | 'format'> & Partial<Pick<UploadVolume, 'host' | 'pool'>>;

/** The same file, for the same volume in the same place, as far as can be seen. What is not said is as it was. */
export function isSameUpload(
  p: UploadParams,
  { file, format, host = '', pool = '' }: UploadAgain,
  tables: Tables,
): boolean {
  if (p.fileBytes !== file.fileBytes || p.fileFormat !== file.format) return false;
  if (format !== '' && format !== p.format) return false;
  if (host !== '' && resolve('host', tables.hosts, host).id !== p.hostId) return false;
  return pool === '' || diskPool(tables, pool, 'the volume:').poolId === (p.poolId ?? undefined);
}
