/** Writes pieces to a sparse stream of libvirt, in order, and ends it: resolves when libvirt has written everything. */
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { Fuse } from '@berth/shared/runtime/fuse.ts';
import type { SparseStream } from './stream.ts';

/** @throws INTERNAL when other than so many bytes came: then the volume is not whole, and the stream is broken off. */
export async function writeSparse(stream: SparseStream, pieces: AsyncIterable<Piece>, bytes: number): Promise<void> {
  const fuse = new Fuse();
  stream.once('error', (e) => fuse.burn(e));
  let came = 0;
  try {
    for await (const piece of pieces) {
      came += lengthOf(piece);
      if (came > bytes) throw new ClusterError('INTERNAL', `more than ${bytes} bytes of a disk came`);
      await fuse.wait(typeof piece === 'number' ? stream.hole(piece) : written(stream, piece));
    }
    if (came !== bytes) throw new ClusterError('INTERNAL', `${came} of ${bytes} bytes of a disk came`);
    await fuse.wait(ended(stream));
  } catch (e) {
    stream.destroy();
    throw e;
  }
}

const written = (stream: SparseStream, bytes: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => stream.write(bytes, (e) => (e ? reject(e) : resolve())));

const ended = (stream: SparseStream): Promise<void> =>
  new Promise((resolve, reject) => stream.end((e?: Error | null) => (e ? reject(e) : resolve())));
