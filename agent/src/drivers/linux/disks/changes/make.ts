/** Makes volumes with what can be chosen of a file: preallocation, cluster size, lazy reference counts. Plain ones are volumes.ts's. */
import { rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import type { LongWork } from '../../../disks.ts';
import { DEFAULT_CLUSTER_BYTES, formatOf, type MakeSpec } from '../../../volume-work.ts';
import type { Exec } from '../../exec.ts';
import { syncDir, syncFile } from '../files.ts';
import { requireRoom } from '../space.ts';
import { ensureVolume, findVolume, type VolumeParts } from '../volumes.ts';

/** The caller holds the volume's and the image's locks. */
export async function makeVolume(parts: VolumeParts & { exec: Exec }, spec: MakeSpec, work: LongWork): Promise<void> {
  const { pool } = parts;
  checkMake(spec);
  // one that is cancelled before it has its turn runs all the same, for the sake of what an agent before has made
  if (work.signal.aborted && (await findVolume(pool, spec.volumeId)) === undefined)
    throw new ClusterError('CANCELLED', `the making of volume ${spec.volumeId} was cancelled before it began`);
  if (isPlain(spec)) return ensureVolume(parts, spec);
  const filled = spec.preallocation === 'falloc' || spec.preallocation === 'full';
  if (filled) await requireRoom(pool.volumesDir, spec.sizeBytes, `volume ${spec.volumeId}`);
  await ensureVolume(parts, spec, (_parts, _spec, path) => create(parts, spec, path, work));
}

const isPlain = (s: MakeSpec): boolean =>
  s.preallocation === 'off' && s.clusterBytes === DEFAULT_CLUSTER_BYTES && !s.lazyRefcounts;

function checkMake(s: MakeSpec): void {
  const raw = formatOf(s) === 'raw';
  if (raw && (s.preallocation === 'metadata' || s.clusterBytes !== DEFAULT_CLUSTER_BYTES || s.lazyRefcounts))
    throw invalidArgument(
      `volume ${s.volumeId} is raw, which has no metadata: clusters and reference counts are of qcow2`,
    );
  if (s.imageDigest !== undefined && s.preallocation !== 'off')
    throw invalidArgument(
      `volume ${s.volumeId} is an overlay of an image, which is not allocated before it is written to`,
    );
  const { clusterBytes: c } = s;
  if (!Number.isInteger(Math.log2(c)) || c < 512 || c > 2 ** 21)
    throw invalidArgument(`clusters of ${c} bytes cannot be: a power of two from 512 bytes to 2 MiB`);
}

async function create(
  { pool, exec }: VolumeParts & { exec: Exec },
  spec: MakeSpec,
  path: string,
  work: LongWork,
): Promise<void> {
  const half = join(pool.volumesDir, `.${spec.volumeId}.half`);
  const format = formatOf(spec);
  const options = [
    ...(spec.preallocation === 'off' ? [] : [`preallocation=${spec.preallocation}`]),
    ...(format === 'qcow2' ? [`cluster_size=${spec.clusterBytes}`] : []),
    ...(spec.lazyRefcounts ? ['lazy_refcounts=on', 'compat=1.1'] : []),
  ].join(',');
  // the image is not opened: its header and size have been looked at
  const backing = spec.imageDigest === undefined ? [] : ['-u', '-b', pool.imagePath(spec.imageDigest), '-F', 'qcow2'];
  try {
    await writeFile(half, '', { mode: 0o600 });
    const args = ['create', '-q', '-f', format, ...(options === '' ? [] : ['-o', options]), ...backing, half];
    await exec.run('qemu-img', [...args, String(spec.sizeBytes)], {
      signal: work.signal,
      timeoutMs: 0,
      what: 'making a volume',
    });
    if (format === 'raw') await truncate(half, spec.sizeBytes);
    await syncFile(half);
    await rename(half, path);
    await syncDir(pool.volumesDir);
  } finally {
    await rm(half, { force: true });
  }
}
