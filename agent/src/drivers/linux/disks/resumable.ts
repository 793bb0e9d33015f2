/**
 * Files that operators send and go on with after a break, of the network or of this agent. What has come is a file as long as that,
 * with holes for zeros. It is hashed when all is there: then what lies on the disk is known to be right, whoever wrote it.
 */
import { createHash } from 'node:crypto';
import { open, readFile, rm, type FileHandle } from 'node:fs/promises';
import * as z from 'zod';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { TAIL_BYTES, type ResumableSink, type ResumableUploads, type ResumedFile } from '../../volume-work.ts';
import { sizeOf, tellingFull, writeAtomic } from './files.ts';
import type { Pool } from './pool.ts';
import { requireRoom } from './space.ts';
import { comingNotePath, comingPath, hashOf, type Uploads } from './uploads.ts';

/** Data beyond what was announced as such: room for so much more is looked for at a time. */
const MORE_BYTES = 256 * 2 ** 20;
/** Of one whose origin is known: what a power cut may cost. */
const SAFE_EVERY_BYTES = 64 * 2 ** 20;

/** Written before what it speaks of is relied on: of what file it is, and how much of it a power cut would leave. */
const Note = z.object({ origin: z.string(), safeBytes: z.number() });

async function noteOf(pool: Pool, uploadId: string): Promise<z.infer<typeof Note> | undefined> {
  const text = await readFile(comingNotePath(pool, uploadId), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : Note.parse(JSON.parse(text));
}

export const createResumable = (pool: Pool, uploads: Uploads): ResumableUploads => ({
  digest: (uploadId, signal) => uploads.sourceDigest(uploadId, signal),
  async find(uploadId) {
    const whole = await uploads.has(uploadId);
    const path = whole ? pool.uploadPath(uploadId) : comingPath(pool, uploadId);
    const note = whole ? undefined : await noteOf(pool, uploadId);
    const receivedBytes = Math.min((await sizeOf(path))?.size ?? 0, note?.safeBytes ?? Infinity);
    const tailSha256 = await tailOf(path, receivedBytes);
    return { receivedBytes, tailSha256, whole, ...(note && { origin: note.origin }) };
  },
  async open(uploadId, file) {
    const path = comingPath(pool, uploadId);
    const there = await sizeOf(path);
    if (file.offset > (there?.size ?? 0))
      throw invalidArgument(
        `upload ${uploadId} cannot go on at ${file.offset}: ${there?.size ?? 0} bytes of it are here`,
      );
    const kept = file.offset === 0 ? 0 : (there?.allocated ?? 0);
    const allocated = Math.min(file.fileBytes, file.allocatedBytes);
    // unless it is the volume itself, it lies here beside what is made of it
    const [copies, what] = file.origin === undefined ? [2, 'the upload and the volume made of it'] : [1, 'the volume'];
    await requireRoom(pool.uploadsDir, Math.max(0, copies * allocated - kept), what);
    await putNote(pool, uploadId, file.origin, file.offset);
    const handle = await open(path, there === undefined ? 'wx' : 'r+', 0o600);
    await handle.truncate(file.offset);
    return new Coming({ pool, uploads, uploadId, file, path, allowedBytes: allocated - kept }, handle);
  },
});

/** @param origin undefined: nothing is said of it, and what was said is gone. */
async function putNote(pool: Pool, uploadId: string, origin: string | undefined, safeBytes: number): Promise<void> {
  const path = comingNotePath(pool, uploadId);
  if (origin === undefined) return rm(path, { force: true });
  await tellingFull('the upload', pool.uploadsDir, () =>
    writeAtomic(path, JSON.stringify({ origin, safeBytes }), 0o600),
  );
}

async function tailOf(path: string, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  if (bytes === 0) return hash.digest('hex');
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(2 ** 20);
    for (let at = Math.max(0, bytes - TAIL_BYTES); at < bytes;) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, bytes - at), at);
      if (bytesRead === 0) break;
      hash.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}

interface Target {
  readonly pool: Pool;
  readonly uploads: Uploads;
  readonly uploadId: string;
  readonly file: ResumedFile;
  readonly path: string;
  /** Data that there was room for when it was last looked at. */
  readonly allowedBytes: number;
}

class Coming implements ResumableSink {
  #at: number;
  #written = 0;
  #allowed: number;
  #closed = false;
  #safe: number;

  constructor(
    private readonly to: Target,
    private readonly handle: FileHandle,
  ) {
    this.#at = to.file.offset;
    this.#safe = to.file.offset;
    this.#allowed = Math.max(0, to.allowedBytes);
  }

  async write(chunk: Uint8Array): Promise<void> {
    const at = this.#count(chunk.length);
    this.#written += chunk.length;
    await this.#full(async () => {
      for (; this.#written > this.#allowed; this.#allowed += MORE_BYTES)
        await requireRoom(this.to.pool.uploadsDir, Math.min(MORE_BYTES, this.#left + chunk.length), 'the upload');
      for (let done = 0; done < chunk.length;)
        done += (await this.handle.write(chunk, done, chunk.length - done, at + done)).bytesWritten;
      if (this.#at - this.#safe >= SAFE_EVERY_BYTES) await this.#save();
    });
  }

  async skip(bytes: number): Promise<void> {
    this.#count(bytes);
    // as long as what has come: who goes on sees how much that is
    await this.#full(() => this.handle.truncate(this.#at));
  }

  async finish(sha256: string, signal: AbortSignal): Promise<void> {
    const { uploads, uploadId, path, file } = this.to;
    if (this.#at !== file.fileBytes)
      throw invalidArgument(`${this.#at} of the announced ${file.fileBytes} bytes came; send the rest`);
    // a crash while it is read leaves all of it
    await this.#full(() => (file.origin === undefined ? this.handle.sync() : this.#save()));
    const found = await hashOf(path, signal);
    if (found !== sha256.toLowerCase()) {
      await this.#drop();
      throw new ClusterError(
        'DIGEST_MISMATCH',
        `what came is something else than was sent (sha256 ${found} instead of ${sha256.slice(0, 64)}); nothing of it stays`,
      );
    }
    await this.close();
    await uploads.finish(uploadId, path, found);
    await putNote(this.to.pool, uploadId, undefined, 0);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // what cannot be made safe now comes again
    await this.#save().catch(() => undefined);
    await this.handle.close();
  }

  /** What has come survives a power cut. */
  async #save(): Promise<void> {
    const { pool, uploadId, file } = this.to;
    if (file.origin === undefined || this.#safe === this.#at) return;
    const at = this.#at;
    await this.handle.sync();
    await putNote(pool, uploadId, file.origin, at);
    this.#safe = at;
  }

  get #left(): number {
    return this.to.file.fileBytes - this.#at;
  }

  /** @returns where they go. */
  #count(bytes: number): number {
    const at = this.#at;
    if (bytes > this.#left) throw invalidArgument(`more than the announced ${this.to.file.fileBytes} bytes came`);
    this.#at += bytes;
    return at;
  }

  async #drop(): Promise<void> {
    this.#safe = this.#at;
    await this.close();
    await putNote(this.to.pool, this.to.uploadId, undefined, 0);
    await rm(this.to.path, { force: true });
  }

  /** A disk that fills up gets its room back. */
  async #full<T>(fn: () => Promise<T>): Promise<T> {
    const how = `the upload (${this.#at} of ${this.to.file.fileBytes} bytes came; nothing of it stays)`;
    try {
      return await tellingFull(how, this.to.path, fn);
    } catch (e) {
      if (e instanceof ClusterError && e.reason === 'DISK_FULL') await this.#drop();
      throw e;
    }
  }
}
