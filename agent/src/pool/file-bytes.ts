/** What volumes that are files in pools hold, as bytes: qcow2 with what is in its image, by a confined QEMU; raw files by libvirt. */
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import type { Storage } from '../drivers/storage.ts';
import type { AllDisks, PoolFile } from '../drivers/volume-work.ts';
import { imageFile } from './pool-images.ts';
import { fileOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume } from './pool-store.ts';

export interface FileRead extends Pick<KeptVolume, 'volumeId' | 'format' | 'imageDigest' | 'sizeBytes'> {
  readonly pool: KeptPool;
}

/** Nobody writes to it meanwhile. @throws UNSAFE_IMAGE: it is not as we made it */
export async function* readFileIn(
  own: Pick<AllDisks, 'blocks' | 'imagePath'>,
  { storage }: { readonly storage: Pick<Storage, 'read'> },
  file: FileRead,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  const { pool, volumeId, format } = file;
  const name = fileOf({ volumeId, format });
  if (format === 'raw') return yield* (await storage.read(poolUuid(pool.spec.poolId), name)).pieces(signal);
  for await (const bytes of own.blocks.readFile(fileIn(own, file), signal)) yield* piecesOf(bytes);
}

/** As QEMU reads it. */
export function fileIn(
  own: Pick<AllDisks, 'imagePath'>,
  { pool, volumeId, format, imageDigest, sizeBytes }: FileRead,
): PoolFile {
  const backing = imageDigest === undefined ? undefined : backingIn(own, pool, imageDigest);
  const path = `${pool.spec.source.targetPath}/${fileOf({ volumeId, format })}`;
  return { volumeId, path, format: format ?? 'qcow2', sizeBytes, backing };
}

/** File of an image below volumes in a pool: the copy in the pool where that is shared, else the host's own. */
const backingIn = (own: Pick<AllDisks, 'imagePath'>, { spec }: KeptPool, digest: string): string =>
  spec.shared ? `${spec.source.targetPath}/${imageFile(digest)}` : own.imagePath(digest);
