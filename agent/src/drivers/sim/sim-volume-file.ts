/** The file of a simulated volume: nothing but what its format needs. What a guest writes is not simulated. */
import { createHash } from 'node:crypto';
import { lengthOf, piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import type { VolumeFile } from '../volume-work.ts';

export interface SimFile {
  readonly sizeBytes: number;
  readonly format?: 'qcow2' | 'raw' | undefined;
  /** Path of its image. */
  readonly backing?: string | undefined;
}

export function simVolumeFile({ sizeBytes, format, backing }: SimFile): VolumeFile {
  return simFileOf([format === 'raw' ? sizeBytes : emptyQcow2(sizeBytes, backing)]);
}

export function simFileOf(all: readonly Piece[]): VolumeFile {
  const fileBytes = all.reduce<number>((n, p) => n + lengthOf(p), 0);
  const hash = createHash('sha256');
  for (const p of all) hash.update(typeof p === 'number' ? `zeros ${p}` : p);
  return {
    ...{ fileBytes, allocatedBytes: fileBytes, origin: hash.digest('hex') },
    async *pieces(_signal, offset = 0) {
      let at = 0;
      for (const p of all) {
        const skip = Math.max(0, offset - at);
        at += lengthOf(p);
        if (skip < lengthOf(p)) yield typeof p === 'number' ? p - skip : p.subarray(skip);
      }
    },
  };
}

/** Some bytes of it are others. */
export async function simWritten(file: VolumeFile, at: number, bytes: Uint8Array): Promise<VolumeFile> {
  const pieces: Piece[] = [];
  let from = 0;
  for await (const p of file.pieces(new AbortController().signal)) {
    const [first, last] = [Math.max(at, from), Math.min(at + bytes.length, from + lengthOf(p))];
    if (first >= last) pieces.push(p);
    else {
      const changed = typeof p === 'number' ? Buffer.alloc(p) : Buffer.from(p);
      changed.set(bytes.subarray(first - at, last - at), first - from);
      pieces.push(...piecesOf(changed));
    }
    from += lengthOf(p);
  }
  return simFileOf(pieces);
}

const VIRTUAL_SIZE_AT = 24;

/** Of a qcow2: its header says so. */
export async function simResized(file: VolumeFile, sizeBytes: number): Promise<VolumeFile> {
  const pieces: Piece[] = [];
  for await (const p of file.pieces(new AbortController().signal)) pieces.push(p);
  const [head, ...rest] = pieces;
  if (head === undefined || typeof head === 'number') return file;
  const to = Buffer.from(head);
  to.writeBigUInt64BE(BigInt(sizeBytes), VIRTUAL_SIZE_AT);
  return simFileOf([to, ...rest]);
}
