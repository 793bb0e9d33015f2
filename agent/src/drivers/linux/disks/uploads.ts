/**
 * Files that operators send: streamed to a file under uploads/, counted and hashed on the way, fsynced at the end. A file under
 * its final name is whole. What is in it is nobody's business here.
 */
import { createHash } from 'node:crypto';
import { open, readFile, rename, rm, type FileHandle } from 'node:fs/promises';
import { z } from 'zod';
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { UploadSink } from '../../disks.ts';
import { codeOf, sizeOf, syncDir, tellingFull, writeAtomic } from './files.ts';
import type { Pool } from './pool.ts';
import { requireRoom } from './space.ts';

export interface Uploads {
  open(uploadId: string, fileBytes: number): Promise<UploadSink>;
  has(uploadId: string): Promise<boolean>;
  /** Hex SHA-256 of a finished upload. NOT_FOUND. */
  sourceDigest(uploadId: string): Promise<string>;
  /** Absent is fine. */
  remove(uploadId: string): Promise<void>;
}

const Facts = z.object({ sha256: z.string().regex(/^[0-9a-f]{64}$/) });
/** Written before the file gets its final name. */
const factsPath = (pool: Pool, uploadId: string): string => `${pool.uploadPath(uploadId)}.json`;
/** Every try has a file of its own: a broken stream that is not noticed yet can't write into the next one's. */
let tries = 0;

export function createUploads(pool: Pool): Uploads {
  const has = async (uploadId: string): Promise<boolean> =>
    (await sizeOf(pool.uploadPath(uploadId))) !== undefined && (await sizeOf(factsPath(pool, uploadId))) !== undefined;
  return {
    has,
    async open(uploadId, fileBytes) {
      const path = pool.uploadPath(uploadId);
      if (!Number.isSafeInteger(fileBytes) || fileBytes < 0)
        throw invalidArgument(`${fileBytes} is not the size of a file to upload`);
      await requireRoom(pool.uploadsDir, fileBytes, 'the upload');
      const part = `${path}.${++tries}.part`;
      return new Upload(pool, { uploadId, announced: fileBytes, part, file: await open(part, 'w', 0o600) });
    },
    async sourceDigest(uploadId) {
      if (!(await has(uploadId)))
        throw notFound(`there is no finished upload ${uploadId} on this host; upload it again`);
      return Facts.parse(JSON.parse(await readFile(factsPath(pool, uploadId), 'utf8'))).sha256;
    },
    async remove(uploadId) {
      await rm(pool.uploadPath(uploadId), { force: true });
      await rm(factsPath(pool, uploadId), { force: true });
    },
  };
}

interface Target {
  readonly uploadId: string;
  readonly announced: number;
  readonly part: string;
  readonly file: FileHandle;
}

class Upload implements UploadSink {
  #received = 0;
  #closed = false;
  readonly #hash = createHash('sha256');

  constructor(
    private readonly pool: Pool,
    private readonly to: Target,
  ) {}

  async write(chunk: Uint8Array): Promise<void> {
    if (this.#received + chunk.length > this.to.announced)
      throw invalidArgument(
        `more than the announced ${this.to.announced} bytes came; the file changed while it was sent`,
      );
    this.#received += chunk.length;
    this.#hash.update(chunk);
    await this.#full(() => this.to.file.writeFile(chunk));
  }

  async finish(): Promise<void> {
    if (this.#received !== this.to.announced)
      throw invalidArgument(
        `${this.#received} of the announced ${this.to.announced} bytes came; the file changed or the upload broke off`,
      );
    await this.#full(() => this.to.file.sync());
    await this.#close();
    const facts = { sha256: this.#hash.digest('hex') };
    await this.#full(() => writeAtomic(factsPath(this.pool, this.to.uploadId), JSON.stringify(facts), 0o600));
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
