/**
 * A qcow2 file on its way to another place, where what it rests on lies under another path: the first cluster is changed as it passes,
 * all else stays as it is. Pure. What a file may refer to is its receiver's business, which looks at it again when it is whole.
 */
import { ClusterError } from '../errors/cluster-error.ts';
import { lengthOf, type Piece } from './pieces.ts';

const MAGIC = 0x514649fb;
const V2_BYTES = 72;
const MAX_CLUSTER_BYTES = 2 ** 21;
const END_MARK_BYTES = 8;

/**
 * @param head the first cluster, or more of it.
 * @param path of the file below it @throws UNSAFE_IMAGE when it is none that rests on another, UNSUPPORTED when the path finds no room
 */
export function withBackingPath(head: Uint8Array, path: string): Buffer {
  const to = Buffer.from(head);
  const cluster = clusterBytesOf(to);
  const [was, length] = [Number(to.readBigUInt64BE(8)), to.readUInt32BE(16)];
  if (was === 0 || length === 0 || was + length > cluster) throw odd('rests on no other');
  const end = endOfExtensions(to, Math.min(cluster, was));
  const name = Buffer.from(path);
  if (end + END_MARK_BYTES + name.length > cluster || name.length > 1_023)
    throw new ClusterError('UNSUPPORTED', `clusters of ${cluster} bytes have no room for the path ${path}`);
  to.fill(0, was, was + length);
  to.fill(0, end, end + END_MARK_BYTES);
  to.writeBigUInt64BE(BigInt(end + END_MARK_BYTES), 8);
  to.writeUInt32BE(name.length, 16);
  to.set(name, end + END_MARK_BYTES);
  return to;
}

/** The same file over another path. What comes of it is as long as what went in. */
export async function* rebased(pieces: AsyncIterable<Piece>, path: string): AsyncGenerator<Piece> {
  const parts: Uint8Array[] = [];
  let have = 0;
  let done = false;
  for await (const piece of pieces) {
    if (done) {
      yield piece;
      continue;
    }
    // zeros in the first cluster are a few bytes; a run that goes on behind it is kept as one
    const taken = typeof piece === 'number' ? Math.min(piece, MAX_CLUSTER_BYTES) : piece.length;
    parts.push(typeof piece === 'number' ? Buffer.alloc(taken) : piece);
    have += taken;
    done = have >= 24 && have >= clusterBytesOf(Buffer.concat(parts));
    if (done) yield withBackingPath(Buffer.concat(parts), path);
    if (lengthOf(piece) > taken) yield lengthOf(piece) - taken;
  }
  if (!done) throw odd('ends within its header');
}

function clusterBytesOf(head: Buffer): number {
  const bits = head.length < 24 ? 0 : head.readUInt32BE(20);
  if (head.length < 24 || head.readUInt32BE(0) !== MAGIC || bits < 9 || bits > 21) throw odd('is no qcow2');
  return 2 ** bits;
}

/** Where the last of them ends, without the mark that says so. */
function endOfExtensions(head: Buffer, limit: number): number {
  let at = head.readUInt32BE(4) === 2 ? V2_BYTES : head.readUInt32BE(100);
  while (at + 8 <= limit && head.readUInt32BE(at) !== 0) {
    at += 8 + Math.ceil(head.readUInt32BE(at + 4) / 8) * 8;
    if (at > limit) throw odd('has a header that makes no sense');
  }
  return at;
}

const odd = (what: string): Error => new ClusterError('UNSAFE_IMAGE', `a disk that is to be moved ${what}`);
