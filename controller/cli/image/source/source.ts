/** Where the bytes of an import come from: read here and there, to look at them, and streamed, to send them. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import type { DiskSource } from '@berth/shared/disk/source.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { unreadable } from '../../core/files.ts';

export interface ByteSource extends DiskSource {
  /** How much of it is not holes, as far as is known. */
  readonly allocatedBytes: number;
  /** All of it, in order. */
  stream(): AsyncIterable<Buffer>;
  close(): Promise<void>;
}

const CHUNK_BYTES = 256 * 1024;
/** What `stat` counts in. */
const SECTOR_BYTES = 512;

/** @param shown how people know it; default: the file's name. */
export async function fileSource(path: string, shown = basename(path)): Promise<ByteSource> {
  const file = await open(path, 'r').catch((e: Error) => {
    throw unreadable(path, e);
  });
  const stat = await file.stat();
  if (!stat.isFile()) {
    await file.close();
    throw invalidArgument(`can't read ${path}: it is not a file`);
  }
  const { size } = stat;
  return {
    name: shown,
    sizeBytes: size,
    allocatedBytes: Math.min(size, Math.max(SECTOR_BYTES, stat.blocks * SECTOR_BYTES)),
    async read(offset, length) {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    },
    async *stream() {
      for (let offset = 0; offset < size;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, offset);
        if (bytesRead === 0) return;
        offset += bytesRead;
        yield buffer.subarray(0, bytesRead);
      }
    },
    close: () => file.close(),
  };
}

/** A member of an archive. It is closed with the archive. */
export function slice(whole: ByteSource, name: string, offset: number, sizeBytes: number): ByteSource {
  return {
    name,
    sizeBytes,
    allocatedBytes: sizeBytes,
    read: (at, length) => whole.read(offset + at, Math.max(0, Math.min(length, sizeBytes - at))),
    async *stream() {
      for (let at = 0; at < sizeBytes;) {
        const bytes = Buffer.from(await whole.read(offset + at, Math.min(CHUNK_BYTES, sizeBytes - at)));
        if (bytes.length === 0) return;
        at += bytes.length;
        yield bytes;
      }
    },
    close: async () => undefined,
  };
}

export interface Wanted {
  readonly algorithm: 'sha256' | 'sha1' | 'sha512';
  /** Hexadecimal. */
  readonly digest: string;
}

/**
 * The same, but its end comes only when all of it was what it should be: so what is wrong never arrives whole.
 * @param from where the digest stands, for the words of a refusal
 */
export function verified(source: ByteSource, { algorithm, digest }: Wanted, from: string): ByteSource {
  async function* stream(): AsyncGenerator<Buffer> {
    const hash = createHash(algorithm);
    let held: Buffer | undefined;
    for await (const bytes of source.stream()) {
      hash.update(bytes);
      if (held) yield held;
      held = bytes;
    }
    const found = hash.digest('hex');
    if (found !== digest.toLowerCase())
      throw new ClusterError(
        'UNSAFE_IMAGE',
        `${source.name} is not what it should be: its ${algorithm} is ${found}, and ${digest} by ${from}. Copy it again`,
      );
    if (held) yield held;
  }
  return { ...source, read: (at, length) => source.read(at, length), close: () => source.close(), stream };
}
