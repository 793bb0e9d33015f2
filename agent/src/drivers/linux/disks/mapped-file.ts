/**
 * Reads a disk straight out of a qcow2 or raw file of ours that nobody writes to, by the map that a confined qemu-img makes of
 * it: no server, no socket, no copy on the way. For files that stand alone and whose data lies in them as it is; others are
 * read another way.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { inspectOverlay } from '@berth/shared/disk/inspect.ts';
import * as z from 'zod';
import type { Exec } from '../exec.ts';
import { withSource } from './files.ts';
import type { NbdClient } from './nbd-client.ts';
import type { NbdExtent } from './nbd-wire.ts';

export type DiskReader = Pick<NbdClient, 'sizeBytes' | 'readInto' | 'blockStatus' | 'close'>;

/** A map of more is not worth its memory: some 100,000 pieces. */
const MOST_MAP_BYTES = 16 * 2 ** 20;
/** A disk is read in pieces; what is told of it at once need not be more. */
const MOST_EXTENTS = 1_000;

const Piece = z.object({
  start: z.int().min(0),
  length: z.int().min(1),
  depth: z.literal(0),
  zero: z.boolean(),
  data: z.boolean(),
  compressed: z.boolean().optional(),
  offset: z.int().min(0).optional(),
});
const DiskMap = z.array(Piece);
type Mapped = z.output<typeof Piece>;

/** Undefined: it refers to another file, its data is compressed, or too scattered. The unprivileged user must be able to read the file. */
export async function openMapped(
  exec: Exec,
  path: string,
  format: 'qcow2' | 'raw',
  signal: AbortSignal,
): Promise<DiskReader | undefined> {
  const pieces = await mapOf(exec, path, format, signal);
  return pieces && new MappedFile(await open(path, 'r'), pieces);
}

async function mapOf(
  exec: Exec,
  path: string,
  format: string,
  signal: AbortSignal,
): Promise<readonly Mapped[] | undefined> {
  const args = ['map', '--output=json', '-f', format, path];
  try {
    // what a guest would see of another file lies at none of these places
    if (format === 'qcow2') await withSource(path, path, (source) => inspectOverlay(source, undefined));
    const options = { signal, timeoutMs: 0, maxOutputBytes: MOST_MAP_BYTES, what: `reading ${path}` };
    const { stdout } = await exec.runConfined('qemu-img', args, options);
    const pieces = DiskMap.parse(JSON.parse(stdout));
    return pieces.length > 0 && pieces.every((p, i) => isPlain(p) && followsOn(p, pieces[i - 1])) ? pieces : undefined;
  } catch (e) {
    if (signal.aborted) throw e;
    // whatever it is, who reads it through a server says it better
    return undefined;
  }
}

const isPlain = (p: Mapped): boolean => p.zero || (p.data && p.offset !== undefined && p.compressed !== true);
const followsOn = (p: Mapped, before: Mapped | undefined): boolean =>
  p.start === (before ? before.start + before.length : 0);

class MappedFile implements DiskReader {
  readonly sizeBytes: number;

  constructor(
    private readonly file: FileHandle,
    private readonly pieces: readonly Mapped[],
  ) {
    const last = pieces[pieces.length - 1]!;
    this.sizeBytes = last.start + last.length;
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    await Promise.all(
      this.between(offset, target.length, Infinity).map(async ({ piece, from, to }) => {
        const part = target.subarray(from - offset, to - offset);
        if (piece.zero) part.fill(0);
        else await this.fill(part, piece.offset! + (from - piece.start));
      }),
    );
  }

  /** Past its end a file reads as zeros. */
  private async fill(part: Buffer, at: number): Promise<void> {
    for (let done = 0; done < part.length;) {
      const { bytesRead } = await this.file.read(part, done, part.length - done, at + done);
      if (bytesRead === 0) return void part.fill(0, done);
      done += bytesRead;
    }
  }

  async blockStatus(offset: number, length: number): Promise<readonly NbdExtent[]> {
    return this.between(offset, length, MOST_EXTENTS).map(({ piece, from, to }) => ({
      ...{ offset: from, length: to - from, zero: piece.zero },
    }));
  }

  close(): void {
    void this.file.close();
  }

  private between(offset: number, length: number, most: number): { piece: Mapped; from: number; to: number }[] {
    const found = [];
    for (let i = this.indexAt(offset), at = offset; at < offset + length && found.length < most; i++) {
      const piece = this.pieces[i]!;
      const to = Math.min(piece.start + piece.length, offset + length);
      found.push({ piece, from: at, to });
      at = to;
    }
    return found;
  }

  /** The last piece that begins at or before it. */
  private indexAt(offset: number): number {
    let [low, high] = [0, this.pieces.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.pieces[middle]!.start <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}
