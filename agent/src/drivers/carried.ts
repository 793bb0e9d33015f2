/**
 * The file of a volume on its way from another place is that and nothing else: not longer than was said, as large a disk as it should
 * be, over its own image and no other file. Whoever sends it may be anybody. What does the writing is the drivers'.
 */
import { readOwnQcow2 } from '@berth/shared/disk/inspect.ts';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { EXTENSION, INCOMPATIBLE, type Qcow2Header } from '@berth/shared/disk/qcow2-header.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeSpec } from './disks.ts';

type Carried = Pick<VolumeSpec, 'volumeId' | 'sizeBytes' | 'format'>;

const ACCEPTED = INCOMPATIBLE.dirty | INCOMPATIBLE.compression | INCOMPATIBLE.extendedL2;
/** The largest cluster: all that a header has is in the first. */
export const HEAD_BYTES = 2 ** 21;
/** Before anything is written. A qcow2 may be longer than its disk, by what was in it once. @throws UNSAFE_IMAGE */
export function checkCarriedLength(spec: Carried, fileBytes: number): void {
  if (spec.format === 'raw' && fileBytes !== spec.sizeBytes)
    throw notTaken(spec, `has ${fileBytes} bytes, and should have ${spec.sizeBytes}`);
}

/** @param backing path of its image here; undefined: it has none. @throws UNSAFE_IMAGE when it refers to anything else */
export function checkCarriedHeader(header: Qcow2Header, spec: Carried, backing: string | undefined): void {
  const other = header.extensions.get(EXTENSION.dataFile);
  if (header.backingFile !== backing || other !== undefined)
    throw notTaken(spec, `refers to ${other ?? header.backingFile ?? 'no image'}`);
  if ((header.incompatible & ~ACCEPTED) !== 0n || header.encryption !== 0)
    throw notTaken(spec, 'has features that Berth does not use');
  if (header.virtualSizeBytes !== spec.sizeBytes)
    throw notTaken(spec, `is a disk of ${header.virtualSizeBytes} bytes, and should have ${spec.sizeBytes}`);
}

/** The same pieces, the first of them when the header among them has been looked at. @throws UNSAFE_IMAGE */
export async function* withCheckedHead(
  pieces: AsyncIterable<Piece>,
  spec: Carried,
  backing: string | undefined,
): AsyncGenerator<Piece> {
  if (spec.format === 'raw') return yield* pieces;
  let held: Piece[] | undefined = [];
  let have = 0;
  for await (const piece of pieces) {
    if (held === undefined) {
      yield piece;
      continue;
    }
    held.push(piece);
    have += lengthOf(piece);
    if (have < HEAD_BYTES) continue;
    await checkHead(held, spec, backing);
    yield* held;
    held = undefined;
  }
  if (held === undefined) return;
  await checkHead(held, spec, backing);
  yield* held;
}

async function checkHead(pieces: readonly Piece[], spec: Carried, backing: string | undefined): Promise<void> {
  const head = headOf(pieces);
  const read = async (offset: number, length: number): Promise<Uint8Array> => head.subarray(offset, offset + length);
  const source = { name: `volume ${spec.volumeId}`, sizeBytes: head.length, read };
  checkCarriedHeader(await readOwnQcow2(source), spec, backing);
}

/** Its first bytes, zeros written out. */
export function headOf(pieces: readonly Piece[]): Buffer {
  const parts = pieces.map((p) => (typeof p === 'number' ? Buffer.alloc(Math.min(p, HEAD_BYTES)) : p));
  return Buffer.concat(parts).subarray(0, HEAD_BYTES);
}

const notTaken = ({ volumeId }: Carried, why: string): ClusterError =>
  new ClusterError('UNSAFE_IMAGE', `the file of volume ${volumeId} is not taken: it ${why}`);
