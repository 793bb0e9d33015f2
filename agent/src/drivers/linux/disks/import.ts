/**
 * An upload becomes an image: our own look at it, our own conversion of it, the digest of that conversion, installed. Everything
 * half-made lies in one staging folder, which goes when the import ends and, after a crash, when the agent starts; the upload
 * stays, so the same import can run again, and then finds what it has installed.
 */
import { createHash } from 'node:crypto';
import { chmod, chown, link, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inspectDiskImage, inspectOverlay, type InspectedImage } from '@berth/shared/disk/inspect.ts';
import type { DiskSource } from '@berth/shared/disk/source.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { ImportedImage, LongWork } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { convert } from './convert.ts';
import type { DigestService } from './digest-service.ts';
import { tellingFull, withSource } from './files.ts';
import type { ImageStore } from './images.ts';
import type { Pool } from './pool.ts';
import type { Captured, Uploads } from './uploads.ts';

export interface ImportParts {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly uploads: Uploads;
  readonly images: ImageStore;
  readonly digests: DigestService;
}

/** How people know the file until somebody puts its name in (`meta.subject`). */
const SUBJECT = 'the uploaded file';
const CAPTURED = 'the captured disk';
/** Share of the work that is conversion; the rest is reading it back. */
const CONVERT_SHARE = 0.6;

export async function importImage(
  parts: ImportParts,
  uploadId: string,
  format: string,
  work: LongWork,
): Promise<ImportedImage> {
  const fileDigest = await parts.uploads.sourceDigest(uploadId, work.signal);
  const upload = parts.pool.uploadPath(uploadId);
  const captured = await parts.uploads.captured(uploadId);
  const { found, base } = await withSource(upload, captured ? CAPTURED : SUBJECT, (source) =>
    captured ? inspectCaptured(parts.pool, source, captured) : plain(inspectDiskImage(source, format)),
  );
  const sourceDigest = captured ? ofCaptured(fileDigest, captured) : fileDigest;
  // before a cancel is looked at: whoever cancels must learn of an image that is there because of this import
  const there = await parts.images.findImported(sourceDigest);
  const told = { sourceDigest, ...(found.medium && { medium: true }) };
  if (there) return { ...there, ...told };
  if (work.signal.aborted) throw new ClusterError('CANCELLED', 'the import was cancelled');
  const total = found.virtualSizeBytes;
  const dir = parts.pool.stagingPath(`import-${uploadId}`);
  try {
    const source = await stage(parts, dir, upload);
    const target = join(dir, 'image.qcow2');
    const about = { virtualSizeBytes: total, poolDir: parts.pool.dataDir, ...(base !== undefined && { base }) };
    const conversion = { source, target, format: found.format, ...about };
    await convert(parts.exec, conversion, work.signal, (f) => work.onProgress(share(total, f * CONVERT_SHARE), total));
    const disk = await parts.digests.ofFile(target, 'qcow2', {
      signal: work.signal,
      onProgress: (d, t) => work.onProgress(share(total, CONVERT_SHARE + (1 - CONVERT_SHARE) * (d / t)), total),
    });
    const image = await parts.images.install(target, disk, sourceDigest);
    return { ...image, ...told };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

interface Inspected {
  readonly found: Pick<InspectedImage, 'format' | 'virtualSizeBytes' | 'medium'>;
  /** The image that it is an overlay of, as a path. */
  readonly base?: string | undefined;
}

const plain = async (found: Promise<InspectedImage>): Promise<Inspected> => ({ found: await found });

/** A guest has written to it, so only what this host has noted of it counts, and its header must agree. */
async function inspectCaptured(pool: Pool, source: DiskSource, { format, base }: Captured): Promise<Inspected> {
  if (format === 'raw') return { found: { format, virtualSizeBytes: source.sizeBytes } };
  const path = base === undefined ? undefined : pool.imagePath(base);
  return { found: await inspectOverlay(source, path), base: path };
}

/** The same overlay of another image is something else, and so is a raw disk that holds what is elsewhere a qcow2 file. */
function ofCaptured(file: string, { base, format }: Captured): string {
  const what = format === 'raw' ? format : base;
  return what === undefined ? file : createHash('sha256').update(`${what}\n${file}`).digest('hex');
}

const share = (total: number, fraction: number): number => Math.floor(total * fraction);

/** A folder that the unprivileged user may write to, with the upload in it under a second name. */
async function stage({ exec, pool }: ImportParts, dir: string, upload: string): Promise<string> {
  const user = await exec.sandboxUser();
  const source = join(dir, 'source');
  await tellingFull('the image', pool.stagingDir, async () => {
    await rm(dir, { recursive: true, force: true });
    await mkdir(dir, { mode: 0o700 });
    await link(upload, source);
    await chmod(source, 0o400);
    await chown(source, user.uid, user.gid);
    await chown(dir, user.uid, user.gid);
  });
  return source;
}
