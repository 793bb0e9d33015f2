/** The file of a simulated volume: nothing but what its format needs. What a guest writes is not simulated. */
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
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
  return {
    ...{ fileBytes, allocatedBytes: fileBytes },
    async *pieces() {
      yield* all;
    },
  };
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
