/** What is kept of a volume in a pool, and the path of its file there. Pure. */
import { alreadyExists, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeFormat, VolumeSpec } from '../drivers/disks.ts';
import type { AllDisks } from '../drivers/volume-work.ts';
import type { KeptVolume, PoolStore } from './pool-store.ts';

export const fileOf = (v: Pick<KeptVolume, 'volumeId' | 'format' | 'block'>): string =>
  v.block ? v.volumeId : `${v.volumeId}.${v.format ?? 'qcow2'}`;

/** File of a volume in a pool; `''` is the host's own folder. */
export function pathIn(
  own: Pick<AllDisks, 'volumePath'>,
  store: PoolStore,
  v: Pick<KeptVolume, 'volumeId'> & { readonly format?: VolumeFormat | undefined },
  place: string,
): string {
  if (place === '') return own.volumePath(v.volumeId, false, v.format);
  const pool = store.pool(place);
  if (pool === undefined) throw notFound(`pool ${place} is not on this host`);
  return `${pool.spec.source.targetPath}/${fileOf({ volumeId: v.volumeId, format: v.format === 'raw' ? 'raw' : undefined })}`;
}

export const keptOf = (s: VolumeSpec & { readonly poolId: string }): KeptVolume => ({
  ...{ version: 1, volumeId: s.volumeId, vmId: s.vmId, poolId: s.poolId, sizeBytes: s.sizeBytes },
  ...(s.imageDigest === undefined ? {} : { imageDigest: s.imageDigest }),
  ...(s.format === 'raw' ? { format: 'raw' } : {}),
});

/** @throws ALREADY_EXISTS */
export const checkSame = (there: KeptVolume, spec: VolumeSpec & { readonly poolId: string }): void =>
  insistSame(there, keptOf(spec));

/** @throws ALREADY_EXISTS */
export function insistSame(there: KeptVolume, shall: KeptVolume): void {
  const { version: _, unfinished: _half, ...was } = there;
  const { version: __, ...wanted } = shall;
  const other = (Object.keys({ ...was, ...wanted }) as (keyof typeof was)[]).find((k) => was[k] !== wanted[k]);
  if (other !== undefined)
    throw alreadyExists(`volume ${shall.volumeId} exists already, with another ${other}`, { volumeId: shall.volumeId });
}
