/**
 * Images of this host: installed whole, never changed, removed. The disk's bytes are renamed into place last, so what is in
 * the folder under its final name is complete, and its manifest is there. Knows nothing of where they come from.
 */
import { chmod, chown, readdir, readFile, rename, rm } from 'node:fs/promises';
import * as z from 'zod';
import { CHUNK_BYTES } from '@berth/shared/disk/digest.ts';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import type { ImageSeen } from '../../disks.ts';
import type { DiskDigest } from './digest.ts';
import { codeOf, sizeOf, syncDir, syncFile, tellingFull, writeAtomic } from './files.ts';
import type { Pool } from './pool.ts';

/** images/<hex>.json. The chunk hashes lie beside it in <hex>.chunks, 32 bytes each, with holes where the disk is zeros. */
const Manifest = z.object({
  version: z.literal(1),
  digest: z.string(),
  virtualSizeBytes: z.int().min(0),
  chunkBytes: z.int().min(1),
  sourceDigest: z.string().optional(),
});

const IMAGE_FILE = /^[0-9a-f]{64}\.qcow2$/;

export interface ImageStore {
  list(): Promise<readonly ImageSeen[]>;
  find(digest: string): Promise<ImageSeen | undefined>;
  /** The image that was made here of an uploaded file with this SHA-256: the same bytes become the same image again. */
  findImported(sourceDigest: string): Promise<ImageSeen | undefined>;
  /** NOT_FOUND when it is not on this host. */
  get(digest: string): Promise<ImageSeen>;
  /**
   * Makes a verified qcow2 file an image. The same content already there: that stays, and the staged file goes. The staged file
   * must be on the pool's file system, and nobody may write to it any more.
   */
  install(stagedPath: string, disk: DiskDigest, sourceDigest?: string): Promise<ImageSeen>;
  /** Absent is fine. Whoever calls has made sure that nothing is based on it. */
  remove(digest: string): Promise<void>;
}

export function createImageStore(pool: Pool): ImageStore {
  const find = (digest: string): Promise<ImageSeen | undefined> => readImage(pool, digest);
  const queue = new KeyedTurns();
  const digests = async (): Promise<string[]> =>
    (await readdir(pool.imagesDir)).filter((n) => IMAGE_FILE.test(n)).map((n) => `sha256:${n.slice(0, 64)}`);
  return {
    find,
    async findImported(sourceDigest) {
      for (const digest of await digests())
        if ((await readManifest(pool, digest))?.sourceDigest === sourceDigest) return find(digest);
      return undefined;
    },
    async get(digest) {
      const image = await find(digest);
      if (!image) throw notFound(`image ${digest} is not on this host`, { digest });
      return image;
    },
    async list() {
      const images = await Promise.all((await digests()).map(find));
      return images.filter((i) => i !== undefined);
    },
    install: (stagedPath, disk, sourceDigest) =>
      queue.run(disk.digest, async () => {
        const there = await find(disk.digest);
        if (there) await rm(stagedPath, { force: true });
        else await tellingFull('the image', pool.imagesDir, () => install(pool, stagedPath, disk, sourceDigest));
        return there ?? ((await find(disk.digest)) as ImageSeen);
      }),
    async remove(digest) {
      // the disk first: without it the rest is litter that the next start sweeps up
      for (const path of [pool.imagePath(digest), pool.manifestPath(digest), pool.chunksPath(digest)])
        await rm(path, { force: true });
      await syncDir(pool.imagesDir);
    },
  };
}

async function install(pool: Pool, staged: string, disk: DiskDigest, sourceDigest: string | undefined): Promise<void> {
  const manifest: z.output<typeof Manifest> = {
    version: 1,
    digest: disk.digest,
    virtualSizeBytes: disk.virtualSizeBytes,
    chunkBytes: CHUNK_BYTES,
    ...(sourceDigest === undefined ? {} : { sourceDigest }),
  };
  await chown(staged, 0, 0);
  await chmod(staged, 0o444);
  await syncFile(staged);
  await writeAtomic(pool.chunksPath(disk.digest), disk.hashes.pages(), 0o444);
  await writeAtomic(pool.manifestPath(disk.digest), `${JSON.stringify(manifest)}\n`, 0o444);
  await rename(staged, pool.imagePath(disk.digest));
  await syncDir(pool.imagesDir);
}

async function readImage(pool: Pool, digest: string): Promise<ImageSeen | undefined> {
  const file = await sizeOf(pool.imagePath(digest));
  const manifest = file && (await readManifest(pool, digest));
  return manifest && { digest, virtualSizeBytes: manifest.virtualSizeBytes, fileBytes: file.size };
}

/** Undefined: removed at this moment, or somebody has been at it by hand; either way not an image we vouch for. */
async function readManifest(pool: Pool, digest: string): Promise<z.output<typeof Manifest> | undefined> {
  try {
    return Manifest.parse(JSON.parse(await readFile(pool.manifestPath(digest), 'utf8')));
  } catch (e) {
    if (codeOf(e) === 'ENOENT' || e instanceof SyntaxError || e instanceof z.ZodError) return undefined;
    throw e;
  }
}
