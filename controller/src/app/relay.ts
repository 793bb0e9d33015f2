/** The pieces of an upload on their way to a host: counted, never stored, cut off when there are too many or nobody wants them. */
import { Transform, type Readable } from 'node:stream';
import { lengthOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument } from '@berth/shared/errors/cluster-error.ts';

/** Pieces that wait on each side of it; each is a message. */
export const PIECES_AHEAD = 4;

/**
 * @param data of pieces.
 * @param wanted asked at each piece: false once the job has ended or is being cancelled.
 * @param fromBytes what came before
 * @returns a stream that fails when `data` fails, is longer or shorter than `fileBytes`, or is not wanted any more.
 */
export function relay(
  data: Readable,
  fileBytes: number,
  wanted: () => boolean,
  progress: (doneBytes: number) => void,
  fromBytes = 0,
): Readable {
  let doneBytes = fromBytes;
  const out = new Transform({
    objectMode: true,
    highWaterMark: PIECES_AHEAD,
    transform(piece: Piece, _encoding, done) {
      doneBytes += lengthOf(piece);
      if (!wanted()) return done(new ClusterError('CANCELLED', 'the upload was cancelled'));
      if (doneBytes > fileBytes)
        return done(invalidArgument(`more bytes came than the ${fileBytes} that were announced`));
      progress(doneBytes);
      done(null, piece);
    },
    flush(done) {
      if (doneBytes === fileBytes) return done();
      done(new ClusterError('CANCELLED', `the upload ended after ${doneBytes} of ${fileBytes} bytes`));
    },
  });
  // whoever reads it hears of it; when nobody does (the host is away), it must not be an uncaught exception
  out.on('error', () => undefined);
  data.once('error', (e: NodeJS.ErrnoException) => out.destroy(e.code === 'ERR_STREAM_PREMATURE_CLOSE' ? hungUp() : e));
  data.once('close', () => {
    if (!data.readableEnded) out.destroy(hungUp());
  });
  return data.pipe(out);
}

const hungUp = (): ClusterError => new ClusterError('CANCELLED', 'the sender hung up');
