/** What can be chosen of the file of a new volume. Pure. */
import { invalidArgument, unsupported } from '@berth/shared/errors/cluster-error.ts';
import { PREALLOCATIONS, type Preallocation, type Volume } from '@berth/shared/model/volume.ts';

interface Asked {
  readonly preallocation: string;
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
}

interface Options {
  readonly preallocation: Preallocation;
  readonly clusterBytes: number;
}

/** @throws INVALID_ARGUMENT for what the format has not. */
export function optionsOf(r: Asked, { name, format, imageId, poolId }: Volume): Options {
  const preallocation = PREALLOCATIONS.find((p) => p === (r.preallocation || 'off'));
  if (preallocation === undefined)
    throw invalidArgument(
      `preallocation is off, metadata, falloc or full, not ${JSON.stringify(r.preallocation.slice(0, 20))}`,
    );
  if (imageId && preallocation !== 'off')
    throw invalidArgument(`volume ${name} is based on an image: it is allocated as it is written to`);
  if (format === 'raw' && (preallocation === 'metadata' || r.clusterBytes !== 0 || r.lazyRefcounts))
    throw invalidArgument(`volume ${name} is raw: it has no metadata, clusters or reference counts`);
  if (poolId !== undefined && (preallocation !== 'off' || r.clusterBytes !== 0 || r.lazyRefcounts))
    throw unsupported(
      `volume ${name} shall lie in a pool, where libvirt makes it: preallocation, clusters and reference counts are for pool local`,
    );
  const { clusterBytes: c } = r;
  if (c !== 0 && (!Number.isInteger(Math.log2(c)) || c < 512 || c > 2 ** 21))
    throw invalidArgument(`a cluster has 512 bytes to 2 MiB, a power of two, not ${c} bytes`);
  return { preallocation, clusterBytes: c };
}
