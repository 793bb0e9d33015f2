/**
 * Files that operators send: streamed to a file under uploads/, counted and hashed on the way, fsynced at the end. A file under
 * its final name is whole. One with holes is hashed when its digest is asked for: to hash zeros takes as long as to hash data,
 * and nobody should wait for it who only sends. What is in it is nobody's business here.
 */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import * as z from 'zod';
import { ClusterError, invalidArgument, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { UploadSink } from '../../disks.ts';
import { takeFile } from '../take-file.ts';
import { codeOf, sizeOf, syncDir, syncFile, tellingFull, writeAtomic } from './files.ts';
import type { Pool } from './pool.ts';
import { requireRoom } from './space.ts';

export interface Uploads {
  open(uploadId: string, fileBytes: number, allocatedBytes?: number): Promise<UploadSink>;
  has(uploadId: string): Promise<boolean>;
  /** Hex SHA-256 of a finished upload. NOT_FOUND; CANCELLED. */
  sourceDigest(uploadId: string, signal: AbortSignal): Promise<string>;
  /** What is known of a finished upload that nobody sent. */
  captured(uploadId: string): Promise<Captured | undefined>;
  /** Makes a file on the pool's file system a finished upload. */
  take(uploadId: string, path: string, captured: Captured | undefined): Promise<void>;
  /** A finished upload that is another name of a file which nobody writes to. */
  link(uploadId: string, path: string): Promise<void>;
  /** A file of ours, on disk, with this hash, becomes a finished upload. */
  finish(uploadId: string, path: string, sha256: string): Promise<void>;
  /** Absent is fine. */
  remove(uploadId: string): Promise<void>;
}

/** A copy of a volume of this host: its format, and the image that it is an overlay of. */
const Captured = z.object({ format: z.enum(['qcow2', 'raw']), base: z.string().optional() });
export type Captured = z.infer<typeof Captured>;

/** Without a digest: it has holes, and nobody has asked yet. */
const Facts = z.object({
  captured: Captured.optional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
/** Written before the file gets its final name. */
const factsPath = (pool: Pool, uploadId: string): string => `${pool.uploadPath(uploadId)}.json`;
/** One that goes on after a break (resumable.ts), while it comes in. */
export const comingPath = (pool: Pool, uploadId: string): string => `${pool.uploadPath(uploadId)}.coming`;
/** What is known of that. */
export const comingNotePath = (pool: Pool, uploadId: string): string => `${comingPath(pool, uploadId)}.json`;
const LEAST_MORE = 16 * 2 ** 20;
/** Every try has a file of its own: a broken stream that is not noticed yet can't write into the next one's. */
let tries = 0;

export function createUploads(pool: Pool): Uploads {
  const has = async (uploadId: string): Promise<boolean> =>
    (await sizeOf(pool.uploadPath(uploadId))) !== undefined && (await sizeOf(factsPath(pool, uploadId))) !== undefined;
  return {
    has,
    async open(uploadId, fileBytes, allocatedBytes = fileBytes) {
      const path = pool.uploadPath(uploadId);
      if (!Number.isSafeInteger(fileBytes) || fileBytes < 0)
        throw invalidArgument(`${fileBytes} is not the size of a file to upload`);
      await requireRoom(pool.uploadsDir, Math.min(fileBytes, allocatedBytes), 'the upload');
      const part = `${path}.${++tries}.part`;
      return new Upload(pool, {
        uploadId,
        announced: fileBytes,
        allocated: allocatedBytes,
        part,
        file: await open(part, 'w', 0o600),
      });
    },
    async sourceDigest(uploadId, signal) {
      if (!(await has(uploadId)))
        throw notFound(`there is no finished upload ${uploadId} on this host; upload it again`);
      const known = await readFacts(pool, uploadId);
      if (known.sha256 !== undefined) return known.sha256;
      const sha256 = await hashOf(pool.uploadPath(uploadId), signal);
      await writeFacts(pool, uploadId, { ...known, sha256 });
      return sha256;
    },
    captured: async (uploadId) => ((await has(uploadId)) ? (await readFacts(pool, uploadId)).captured : undefined),
    async take(uploadId, path, captured) {
      await takeFile(path, 0o600);
      await syncFile(path);
      await tellingFull('the copy of the disk', pool.uploadsDir, () =>
        writeFacts(pool, uploadId, captured ? { captured } : {}),
      );
      await rename(path, pool.uploadPath(uploadId));
      await syncDir(pool.uploadsDir);
    },
    async link(uploadId, path) {
      await tellingFull('the export', pool.uploadsDir, () => writeFacts(pool, uploadId, {}));
      await rm(pool.uploadPath(uploadId), { force: true });
      await link(path, pool.uploadPath(uploadId));
      await syncDir(pool.uploadsDir);
    },
    async finish(uploadId, path, sha256) {
      await tellingFull('the upload', pool.uploadsDir, () => writeFacts(pool, uploadId, { sha256 }));
      await rename(path, pool.uploadPath(uploadId));
      await syncDir(pool.uploadsDir);
    },
    async remove(uploadId) {
      await rm(pool.uploadPath(uploadId), { force: true });
      await rm(factsPath(pool, uploadId), { force: true });
      await rm(comingPath(pool, uploadId), { force: true });
      await rm(comingNotePath(pool, uploadId), { force: true });
    },
  };
}

const readFacts = async (pool: Pool, uploadId: string): Promise<z.infer<typeof Facts>> =>
  Facts.parse(JSON.parse(await readFile(factsPath(pool, uploadId), 'utf8')));

const writeFacts = (pool: Pool, uploadId: string, facts: z.infer<typeof Facts>): Promise<void> =>
  writeAtomic(factsPath(pool, uploadId), JSON.stringify(facts), 0o600);

/** In pieces of half a millisecond each: the agent does other things meanwhile. */
export async function hashOf(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 2 ** 20, signal })) hash.update(chunk as Buffer);
  } catch (e) {
    if (!signal.aborted) throw e;
    // an agent that stops says so: whoever asked asks again
    throw isClusterError(signal.reason, 'HOST_UNREACHABLE')
      ? signal.reason
      : new ClusterError('CANCELLED', 'the check of what was uploaded was cancelled');
  }
  return hash.digest('hex');
}

interface Target {
  readonly uploadId: string;
  readonly announced: number;
  readonly allocated: number;
  readonly part: string;
  readonly file: FileHandle;
}

class Upload implements UploadSink {
  #received = 0;
  #written = 0;
  /** Data that there was room for when it was last looked at. */
  #allowed: number;
  #closed = false;
  /** Undefined once there was a hole. */
  #hash: Hash | undefined = createHash('sha256');

  constructor(
    private readonly pool: Pool,
    private readonly to: Target,
  ) {
    this.#allowed = to.allocated;
  }

  async write(chunk: Uint8Array): Promise<void> {
    const at = this.#count(chunk.length);
    await this.#allow(chunk.length);
    this.#hash?.update(chunk);
    await this.#full(async () => {
      for (let done = 0; done < chunk.length;)
        done += (await this.to.file.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
    });
  }

  async skip(bytes: number): Promise<void> {
    this.#count(bytes);
    this.#hash = undefined;
  }

  /** More data than was announced as such is no fault, but must not fill the disk: there must be room for as much again. */
  async #allow(bytes: number): Promise<void> {
    this.#written += bytes;
    while (this.#written > this.#allowed) {
      const more = Math.min(Math.max(this.#allowed, LEAST_MORE), this.to.announced - this.#received + bytes);
      await this.#full(() => requireRoom(this.pool.uploadsDir, more, 'the upload'));
      this.#allowed += more;
    }
  }

  /** @returns where they go. */
  #count(bytes: number): number {
    const at = this.#received;
    if (at + bytes > this.to.announced)
      throw invalidArgument(
        `more than the announced ${this.to.announced} bytes came; the file changed while it was sent`,
      );
    this.#received += bytes;
    return at;
  }

  async finish(): Promise<void> {
    if (this.#received !== this.to.announced)
      throw invalidArgument(
        `${this.#received} of the announced ${this.to.announced} bytes came; the file changed or the upload broke off`,
      );
    await this.#full(async () => {
      await this.to.file.truncate(this.to.announced); // it may end with a hole
      await this.to.file.sync();
    });
    await this.#close();
    await this.#full(() => writeFacts(this.pool, this.to.uploadId, { sha256: this.#hash?.digest('hex') }));
    await rename(this.to.part, this.pool.uploadPath(this.to.uploadId));
    await syncDir(this.pool.uploadsDir);
  }

  async abort(): Promise<void> {
    await this.#close();
    await rm(this.to.part, { force: true });
  }

  /** A disk that fills up leaves nothing behind, whether or not the caller aborts. */
  async #full<T>(fn: () => Promise<T>): Promise<T> {
    try {
      return await tellingFull(`the upload (${this.#received} of ${this.to.announced} bytes came)`, this.to.part, fn);
    } catch (e) {
      await this.abort();
      throw e;
    }
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.to.file.close().catch((e: unknown) => {
      // closing can report an earlier write's failure, but what matters was synced or is removed
      if (codeOf(e) === undefined) throw e;
    });
  }
}
