/** What is kept of a volume in a pool, and the path of its file there. Pure. */
import { alreadyExists, notFound } from '@berth/shared/errors/cluster-error.ts';
import { holdsBlocks, holdsUnits } from '@berth/shared/model/pool.ts';
import { blockPath, type BlockSource, type VolumeFormat, type VolumeSpec } from '../drivers/disks.ts';
import type { AllDisks } from '../drivers/volume-work.ts';
import { secretUuid } from './pool-spec.ts';
import type { KeptMove, KeptPool, KeptVolume, PoolStore } from './pool-store.ts';

export const fileOf = (v: Pick<KeptVolume, 'volumeId' | 'format' | 'block' | 'unit'>): string =>
  v.unit ? v.unit.name : v.block ? v.volumeId : `${v.volumeId}.${v.format ?? 'qcow2'}`;

/** Of a new file that is to take its place. */
export const newFileOf = (volumeId: string): string => `${volumeId}.new`;

/** Of what it held, while that is being overwritten. */
export const wipedFileOf = (volumeId: string): string => `${volumeId}.wiping`;

/** How QEMU gets at it. */
export function blockSourceOf(
  { spec: { poolId, source } }: KeptPool,
  { volumeId, unit }: Pick<KeptVolume, 'volumeId' | 'unit'>,
): BlockSource {
  if (unit) return { type: 'block', dev: unit.path };
  if (source.type !== 'rbd') return { type: 'block', dev: `${source.targetPath}/${volumeId}` };
  const auth = source.authUser === '' ? {} : { auth: { user: source.authUser, secretUuid: secretUuid(poolId) } };
  const name = `${source.name}/${volumeId}`;
  return { type: 'network', protocol: 'rbd', name, hosts: source.hosts, ...auth };
}

export const blockPathOf = (pool: KeptPool, v: Pick<KeptVolume, 'volumeId' | 'unit'>): string =>
  blockPath(blockSourceOf(pool, v));

/** It holds raw disks and no files: LVM, Ceph, LUNs. */
export const isOfBlocks = (pool: KeptPool | undefined): boolean =>
  pool !== undefined && (holdsBlocks(pool.spec.source.type) || holdsUnits(pool.spec.source.type));

/** File or device of a volume in a pool; `''` is the host's own folder. */
export function pathIn(
  own: Pick<AllDisks, 'volumePath'>,
  store: PoolStore,
  v: Pick<KeptVolume, 'volumeId'> & { readonly format?: VolumeFormat | undefined },
  place: string,
): string {
  const { volumeId } = v;
  const move = store.move(volumeId);
  const asFile = move?.was === undefined ? v.format : crossFormat(move, place);
  if (place === '') return own.volumePath(volumeId, false, asFile);
  const pool = store.pool(place);
  if (pool === undefined) throw notFound(`pool ${place} is not on this host`);
  if (isOfBlocks(pool)) return blockPathOf(pool, store.volume(volumeId) ?? { volumeId });
  return `${pool.spec.source.targetPath}/${fileOf({ volumeId, format: asFile === 'raw' ? 'raw' : undefined })}`;
}

/** On its way to or from a pool without files it may be of another format in each place. Absent: qcow2. */
export const crossFormat = (move: KeptMove, place: string): 'raw' | undefined =>
  place === move.from || move.full ? move.was?.format : 'raw';

export const keptOf = (s: VolumeSpec & { readonly poolId: string }): KeptVolume => ({
  ...{ version: 1, volumeId: s.volumeId, vmId: s.vmId, poolId: s.poolId, sizeBytes: s.sizeBytes },
  ...(s.imageDigest === undefined ? {} : { imageDigest: s.imageDigest }),
  ...(s.format === 'raw' ? { format: 'raw' } : {}),
});

/** @throws ALREADY_EXISTS */
export const checkSame = (there: KeptVolume, spec: VolumeSpec & { readonly poolId: string }): void =>
  insistSame(there, keptOf(spec));

const SAME = ['volumeId', 'vmId', 'poolId', 'sizeBytes', 'imageDigest', 'format', 'block'] as const;

/** @throws ALREADY_EXISTS */
export function insistSame(there: KeptVolume, shall: KeptVolume): void {
  const other = SAME.find((k) => there[k] !== shall[k]);
  if (other !== undefined)
    throw alreadyExists(`volume ${shall.volumeId} exists already, with another ${other}`, { volumeId: shall.volumeId });
}
