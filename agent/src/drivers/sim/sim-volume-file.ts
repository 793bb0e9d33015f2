/** The file of every simulated volume: a small qcow2 over some image. What is in it is not simulated. */
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import type { VolumeFile } from '../volume-work.ts';

const BYTES = emptyQcow2(2 ** 20, '/image');

async function* pieces(): AsyncGenerator<Piece> {
  yield BYTES;
}

export const simVolumeFile: VolumeFile = { fileBytes: BYTES.length, allocatedBytes: BYTES.length, pieces };
