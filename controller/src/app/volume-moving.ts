/** Where volumes may be moved to: checks, and what the job is told. Talks to no host. */
import { badState, invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId, PoolId, VolumeId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import { diskName } from '@berth/shared/model/volume.ts';
import { needCapability } from '../hosts/capabilities.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { LockName } from '../jobs/engine/jobs.ts';
import { noCapacity } from '../jobs/refused.ts';
import { runnable } from '../jobs/volume-create.ts';
import type { MoveParams } from '../jobs/volume-move.ts';
import type { RewriteParams } from '../jobs/volume-rewrite.ts';
import { debtOfVolume } from '../jobs/volume-where.ts';
import type { TransferParams } from '../jobs/volume-transfer.ts';
import type { WhichVolume } from '../jobs/volume-where.ts';
import { volumeRequest, type WorldView } from '../jobs/world.ts';
import { place } from '../scheduler/place.ts';
import type { Tables } from '../state/state.ts';
import { resolve } from './names.ts';
import { isOfBlocks } from '../jobs/world-pools.ts';
import { diskPool, poolName } from './vm-pools.ts';
import { viewVm } from './vm-view.ts';
import { inFiles, insistOff } from './volume-rewriting.ts';
import type { FoundVolume } from './volume-names.ts';
import { viewVolume, type VolumeView } from './volume-view.ts';

export interface MoveVolume {
  /** Empty: `local`, when a host is named; where it is, when nothing is. */
  readonly pool: string;
  /** Empty: where it is. */
  readonly host: string;
  /** It needs its image no more afterwards. */
  readonly full?: boolean;
}

interface Seen {
  readonly tables: Tables;
  readonly hosts: Hosts;
  readonly nowMs: number;
  readonly world: WorldView;
}

/** To a pool of its host, to another host, or nowhere: without its image where it lies. */
export type Move =
  | {
      readonly params: MoveParams;
      readonly locks: readonly LockName[];
      readonly transfer?: never;
      readonly rewrite?: never;
    }
  | { readonly transfer: TransferParams; readonly locks: readonly LockName[]; readonly rewrite?: never }
  | { readonly rewrite: RewriteParams; readonly locks: readonly LockName[] };

/** Undefined: it lies there. @throws BAD_STATE, NOT_FOUND, NO_CAPACITY, UNSUPPORTED */
export function moveWanted(found: FoundVolume, r: MoveVolume, seen: Seen): Move | undefined {
  const { tables, hosts } = seen;
  const view = viewVolume(found, { tables, hosts });
  const { hostId, hostName, name, id: volumeId, poolId } = view;
  insistRunnable(found);
  if (hostId === undefined) throw badState(`volume ${name} is on no host yet`);
  const toHostId = r.host === '' ? hostId : resolve('host', tables.hosts, r.host).id;
  if (found.vm && toHostId !== hostId) throw itsVms(found, name, hostName);
  const to = poolWanted(r, view, tables);
  const isElsewhere = toHostId !== hostId;
  const full = isFull(found, r);
  if (to === poolId && !isElsewhere)
    return full ? { rewrite: madeFull(found, { volumeId, hostId, hostName }, seen), locks: [] } : undefined;
  if ([poolId, to].some((p) => isOfBlocks(tables, p))) insistCross(found, { name, poolId, isElsewhere }, seen);
  const imageId = restsOn(found);
  const locks = locksFor([poolId, to], imageId);
  const wanted = { name, sizeBytes: view.sizeBytes, imageId: full ? undefined : imageId, poolId: to };
  insistNoneLeft({ ...wanted, id: volumeId }, toHostId, tables);
  if (!isElsewhere)
    return { params: moveHere(found, wanted, { hostId, hostName, volumeId, from: poolId, full }, seen), locks };
  insistOtherStorage(tables, { name, hostName, from: poolId, to });
  checkTransfer(wanted, [hostId, toHostId], seen);
  if (full) needCapability({ name: hostName }, hosts.status(hostId).facts, 'volume.full');
  return { transfer: { volumeId, toHostId, to: to ?? null, ...(full && { full }) }, locks };
}

/** Undefined: `local`. @throws INVALID_ARGUMENT, NOT_FOUND */
function poolWanted(
  r: MoveVolume,
  { name, poolId }: Pick<VolumeView, 'name' | 'poolId'>,
  tables: Tables,
): PoolId | undefined {
  if (r.pool !== '' || r.host !== '') return diskPool(tables, r.pool, `volume ${name}:`).poolId;
  if (r.full) return poolId;
  throw invalidArgument('where to? Say --pool POOL, or --host HOST');
}

interface Here {
  readonly hostId: HostId;
  readonly hostName: string;
  readonly volumeId: VolumeId;
  readonly from: PoolId | undefined;
  readonly full: boolean;
}

/** To another pool of its host. */
function moveHere(
  found: FoundVolume,
  wanted: Wanted,
  { hostId, hostName, volumeId, from, ...here }: Here,
  seen: Seen,
): MoveParams {
  const { poolId: to } = wanted;
  const raw = [from, to].some((p) => isOfBlocks(seen.tables, p));
  // to and from a pool without files it rests on no image in any case
  const full = here.full && !raw;
  const ability = raw ? blockAbility(found, [from, to], seen) : full ? 'volume.pool-files' : 'volume.move';
  const { facts } = seen.hosts.status(hostId);
  needCapability({ name: hostName }, facts, ability);
  insistNotSaved(found, seen);
  if (full && isOn(found, seen)) needCapability({ name: hostName }, facts, 'volume.full-live');
  checkRoom(wanted, hostId, seen);
  return { ...which(found, volumeId), to: to ?? null, ...(raw && { raw }), ...(full && { full }) };
}

const restsOn = (found: FoundVolume): ImageId | undefined => (found.vm ? found.disk : found.volume).imageId;

/** One that rests on no image goes as it is. */
const isFull = (found: FoundVolume, r: MoveVolume): boolean => r.full === true && restsOn(found) !== undefined;

/** It stays where it is, and what is in its image is copied into it. */
function madeFull(
  found: FoundVolume,
  { volumeId, hostId, hostName: name }: Pick<Here, 'volumeId' | 'hostId' | 'hostName'>,
  seen: Seen,
): RewriteParams {
  const { facts } = seen.hosts.status(hostId);
  needCapability({ name }, facts, 'volume.rewrite');
  if (inFiles(found, seen.tables)) needCapability({ name }, facts, 'volume.pool-files');
  const disk = found.vm ? diskName(found.vm.name, found.disk.target) : '';
  const instead = `, or take it to another pool while it runs (berth volume move ${disk} --pool POOL --full)`;
  insistOff(found, seen, { blocks: true }, instead);
  return { ...which(found, volumeId), format: 'qcow2', full: true };
}

const which = ({ vm }: FoundVolume, volumeId: VolumeId): WhichVolume => ({ volumeId, ...(vm && { vmId: vm.id }) });

function insistNotSaved({ vm }: FoundVolume, seen: Seen): void {
  if (vm && viewVm(vm, seen).state === 'saved')
    throw badState(`vm ${vm.name} is saved, and goes on with its disks where they are. Start it, then move them`);
}

interface Cross {
  readonly name: string;
  readonly poolId: PoolId | undefined;
  readonly isElsewhere: boolean;
}

/** Of two pools one of which holds no files. */
function insistCross(found: FoundVolume, { name, poolId, isElsewhere }: Cross, { tables }: Seen): void {
  if ((found.vm ? found.disk : found.volume).unit)
    throw unsupported(`volume ${name} is a unit of pool ${poolName(tables, poolId)}: it stays there`);
  if (isElsewhere)
    throw unsupported(
      `volume ${name}: to and from a pool that holds no files the way to another host is by pool local of its host. Move it there first`,
    );
}

/** Under a guest that runs, or between two pools neither of which is local: older agents could not. */
function blockAbility({ vm }: Pick<FoundVolume, 'vm'>, pools: readonly (PoolId | undefined)[], seen: Seen) {
  return !isOn({ vm }, seen) && pools.includes(undefined) ? 'volume.block' : 'volume.block-move';
}

function isOn({ vm }: Pick<FoundVolume, 'vm'>, seen: Seen): boolean {
  const state = vm ? viewVm(vm, seen).state : 'stopped';
  return state !== 'stopped' && state !== 'crashed';
}

const insistRunnable = ({ volume }: FoundVolume): void => void (volume && runnable(volume));

const locksFor = (pools: readonly (PoolId | undefined)[], imageId: ImageId | undefined): readonly LockName[] => [
  ...pools.flatMap((id) => (id === undefined ? [] : [`pool/${id}:shared` as const])),
  ...(imageId === undefined ? [] : [`image/${imageId}:shared` as const]),
];

const itsVms = (found: FoundVolume & { readonly vm: object }, name: string, host: string): Error =>
  badState(
    `volume ${name} is a disk of vm ${found.vm.name}, and lies on its host (${host}): a vm's disks go with it. ` +
      `To move it alone, detach it first (berth volume detach ${found.vm.name}/${found.disk.target})`,
  );

/** One file cannot be copied over itself, and removed where it came from. */
function insistOtherStorage(
  { pools }: Tables,
  v: {
    readonly name: string;
    readonly hostName: string;
    readonly from?: PoolId | undefined;
    readonly to?: PoolId | undefined;
  },
): void {
  const pool = v.to !== undefined && v.to === v.from ? pools.get(v.to) : undefined;
  if (pool?.shared)
    throw badState(
      `volume ${v.name} lies in pool ${pool.name}, which its hosts share: there it stays ${v.hostName}'s. ` +
        `To take it elsewhere, name another pool (--pool local)`,
    );
}

interface Wanted {
  readonly name: string;
  readonly sizeBytes: number;
  readonly imageId: ImageId | undefined;
  readonly poolId: PoolId | undefined;
}

function checkTransfer(v: Wanted, both: readonly [HostId, HostId], { tables, hosts, world }: Seen): void {
  for (const id of both)
    needCapability({ name: tables.hosts.get(id)?.name ?? id }, hosts.status(id).facts, 'volume.transfer');
  const answer = place(world.now(), volumeRequest(v, tables, both[1]));
  if (!('hostId' in answer)) throw noCapacity({ name: v.name }, answer.refusals, 'volume');
}

/** @throws BAD_STATE: that file would be taken for the volume, or what removes it would remove the volume in a pool that hosts share. */
function insistNoneLeft(
  { id, name, poolId }: Wanted & { readonly id: VolumeId },
  toHostId: HostId,
  tables: Tables,
): void {
  const shared = poolId !== undefined && tables.pools.get(poolId)?.shared === true;
  const debt = debtOfVolume(tables, id, shared ? undefined : toHostId);
  if (debt === undefined) return;
  const host = tables.hosts.get(debt.hostId)?.name ?? debt.hostId;
  throw badState(
    `an older copy of volume ${name} is still on host ${host}, which could not remove it yet. It tries again by itself: ` +
      `see berth event list, and move it then`,
  );
}

/** Of what comes to a host, or grows there. @param kind of what has no place @throws NO_CAPACITY */
export function checkRoom(
  v: Wanted,
  hostId: HostId | undefined,
  { tables, world }: Pick<Seen, 'tables' | 'world'>,
  kind = 'volume',
): void {
  const answer = place(world.now(), volumeRequest(v, tables, hostId));
  // a host that takes nothing new keeps what it has, which may lie elsewhere on it
  const full = 'hostId' in answer ? [] : answer.refusals.filter((f) => f.filter === 'disk' || f.filter === 'pool');
  if (full.length > 0) throw noCapacity({ name: v.name }, full, kind);
}

/** Of a new volume that stands alone. In a pool without files it is raw, and blank at first. @throws as diskPool, UNSUPPORTED */
export function blankPool(
  tables: Pick<Tables, 'pools'>,
  r: { readonly name: string; readonly pool: string; readonly image: string; readonly format: string },
): { readonly poolId?: PoolId; readonly format?: 'raw' } {
  if (r.pool === LOCAL_POOL) return {};
  const pool = diskPool(tables, r.pool, `volume ${r.name}:`);
  if (!isOfBlocks(tables, pool.poolId)) return pool;
  if (r.image === '' && r.format !== 'qcow2') return { ...pool, format: 'raw' };
  throw unsupported(
    `volume ${r.name}: pool ${r.pool} holds no files: what stands alone there is raw and blank. A disk of a vm can be a copy of an image`,
  );
}
