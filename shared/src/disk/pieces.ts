/**
 * A file on its way, with runs of zeros counted instead of sent: raw disks are mostly holes. Says nothing about where zeros
 * end up; whoever writes them makes holes.
 */

/** Bytes, or the length of a run of zero bytes. */
export type Piece = Uint8Array | number;

export const lengthOf = (piece: Piece): number => (typeof piece === 'number' ? piece : piece.length);

/** A shorter run is not worth a message of its own. */
export const BLOCK_BYTES = 64 * 1024;
const ZEROS = Buffer.alloc(BLOCK_BYTES);

/** The same bytes as pieces; they share memory with `bytes`. */
export function* piecesOf(bytes: Uint8Array): Generator<Piece> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let from = 0;
  let zero = false;
  for (let at = 0; at < buffer.length; at += BLOCK_BYTES) {
    const block = buffer.subarray(at, at + BLOCK_BYTES);
    const isZero = block.equals(ZEROS.subarray(0, block.length));
    if (isZero !== zero && at > from) {
      yield zero ? at - from : buffer.subarray(from, at);
      from = at;
    }
    zero = isZero;
  }
  if (buffer.length > from) yield zero ? buffer.length - from : buffer.subarray(from);
}

/** For a receiver that does not count: zeros as bytes. */
export async function* bytesOf(pieces: AsyncIterable<Piece>): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    if (typeof piece !== 'number') yield piece;
    else for (let left = piece; left > 0; left -= BLOCK_BYTES) yield ZEROS.subarray(0, Math.min(left, BLOCK_BYTES));
  }
}
