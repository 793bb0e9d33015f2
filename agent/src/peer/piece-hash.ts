/** SHA-256 of a file that comes in pieces, with zeros that are counted and not sent. */
import { createHash } from 'node:crypto';
import type { Piece } from '@berth/shared/disk/pieces.ts';

const ZEROS = Buffer.alloc(2 ** 20);
/** So much is hashed at once: the agent does other things in between. */
const AT_ONCE_BYTES = 16 * 2 ** 20;

export class PieceHash {
  readonly #hash = createHash('sha256');

  async add(piece: Piece): Promise<void> {
    if (typeof piece !== 'number') return void this.#hash.update(piece);
    for (let left = piece; left > 0; left -= ZEROS.length) {
      this.#hash.update(ZEROS.subarray(0, Math.min(left, ZEROS.length)));
      if (left % AT_ONCE_BYTES < ZEROS.length) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  digest(): Buffer {
    return this.#hash.digest();
  }
}
