/**
 * The operation behind ExportService, and the reading of what it made. A file for somebody outside lies where uploads lie, and goes
 * with its job as they do.
 */
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, ExportFormat } from '../drivers/disks.ts';
import { checkBytes, checkDigest, checkUploadId } from '../ids.ts';
import type { ImageOutcome } from '../operations/ledger.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { Uploads } from './uploads.ts';

export interface ExportWanted {
  readonly digest: string;
  readonly format: ExportFormat;
  readonly exportId: string;
}

const FORMATS: readonly string[] = ['qcow2', 'raw', 'vmdk'] satisfies ExportFormat[];
const EXPORTS_AT_ONCE = 2;
const LONGEST_RUN = 2 ** 30;

export function checkExport(w: { digest: string; format: string; exportId: string }): ExportWanted {
  checkDigest(w.digest);
  checkUploadId(w.exportId);
  if (FORMATS.includes(w.format)) return w as ExportWanted;
  throw invalidArgument(
    `an image cannot be exported as ${JSON.stringify(w.format.slice(0, 40))}: ${FORMATS.join(', ')}`,
  );
}

export class Exports {
  readonly make: OperationKind<ExportWanted>;

  constructor(
    private readonly deps: {
      readonly disks: Pick<Disks, 'exportImage' | 'readStaged' | 'removeUpload'>;
      readonly uploads: Pick<Uploads, 'keep'>;
      readonly operations: Operations;
    },
  ) {
    this.make = deps.operations.define<ExportWanted>({
      name: 'image.export',
      long: { atOnce: EXPORTS_AT_ONCE },
      lockKey: (w) => `export/${w.exportId}`,
      run: (w, work) => this.run(w, work),
      abandon: (w) => deps.disks.removeUpload(w.exportId),
    });
  }

  private async run(w: ExportWanted, work: Work): Promise<ImageOutcome> {
    work.signal.throwIfAborted();
    await this.deps.uploads.keep(w.exportId);
    const file = await this.deps.disks.exportImage(w.exportId, w.digest, w.format, work);
    return {
      digest: w.digest,
      virtualSizeBytes: file.virtualSizeBytes,
      fileBytes: file.fileBytes,
      sourceDigest: file.sha256,
    };
  }

  /** From `offset` on; runs of zeros are counted. */
  async *read(exportId: string, offset: number, signal: AbortSignal): AsyncGenerator<Piece> {
    checkUploadId(exportId);
    checkBytes('a position', offset, 0, 2 ** 52);
    let zeros = 0;
    for await (const bytes of this.deps.disks.readStaged(exportId, offset, signal)) {
      for (const piece of piecesOf(bytes)) {
        if (typeof piece === 'number') zeros += piece;
        if (zeros > 0 && (typeof piece !== 'number' || zeros >= LONGEST_RUN)) {
          yield zeros;
          zeros = 0;
        }
        if (typeof piece !== 'number') yield piece;
      }
    }
    if (zeros > 0) yield zeros;
    if (signal.aborted) throw notFound('the reader left');
  }
}
