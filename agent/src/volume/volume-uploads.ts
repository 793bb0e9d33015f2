/**
 * Files of somebody outside that become volumes: what brings them, in as many streams as it takes, and the operation that makes a
 * volume of one that is whole. They lie where uploads lie, and go with their job as those do.
 */
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, badState, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { VolumeFormat, VolumeSeen } from '../drivers/disks.ts';
import { formatOf, type AllDisks, type ArrivedBytes } from '../drivers/volume-work.ts';
import { checkBytes, checkId, checkUploadId } from '../ids.ts';
import type { ImageOutcome } from '../operations/ledger.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { MAX_FILE_BYTES, untilAborted, type Uploads } from './uploads.ts';

export interface UploadPart {
  readonly uploadId: string;
  readonly fileBytes: number;
  /** 0: all. */
  readonly allocatedBytes: number;
  /** Where the first piece goes. */
  readonly offset: number;
}

export interface InstallWanted {
  readonly uploadId: string;
  readonly volumeId: string;
  readonly fileFormat: string;
  readonly format: VolumeFormat;
  /** 0: whatever it has. */
  readonly sizeBytes: number;
  readonly poolId?: string;
}

export interface VolumeUploadDeps {
  readonly disks: AllDisks;
  readonly uploads: Uploads;
  readonly operations: Operations;
}

/** Conversions are bound by CPU. */
const INSTALLS_AT_ONCE = 2;
const SECTOR = 512;
const MAX_DISK_BYTES = 2 ** 50 - SECTOR;
const FORMATS = ['', 'raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'];

export function checkInstall(w: InstallWanted): InstallWanted {
  checkUploadId(w.uploadId);
  checkId('volume', w.volumeId);
  checkBytes(`volume ${w.volumeId}: a size`, w.sizeBytes, 0, MAX_DISK_BYTES);
  if (!FORMATS.includes(w.fileFormat))
    throw invalidArgument(`format ${JSON.stringify(w.fileFormat.slice(0, 40))} of a file is not known`);
  return w;
}

export class VolumeUploads {
  readonly install: OperationKind<InstallWanted>;
  /** Uploads that are read now. */
  private readonly reading = new Set<string>();

  constructor(private readonly deps: VolumeUploadDeps) {
    const { operations, disks } = deps;
    this.install = operations.define<InstallWanted>({
      ...{ name: 'volume.install', long: { atOnce: INSTALLS_AT_ONCE } },
      lockKey: (w) => `volume/${w.volumeId}`,
      run: (w, work) => this.run(w, work),
      succeeded: (w) => disks.removeUpload(w.uploadId),
      abandon: (w) => disks.removeUpload(w.uploadId),
    });
  }

  isReading = (uploadId: string): boolean => this.reading.has(uploadId);

  /** Ends who still brings some of it. */
  find(uploadId: string, signal: AbortSignal): Promise<ArrivedBytes> {
    return this.deps.uploads.alone(checkUploadId(uploadId), signal, () => this.deps.disks.resumable.find(uploadId));
  }

  /**
   * Takes what comes, and when that is all, looks whether it is right. Broken off, what came stays.
   * @param ending SHA-256 of the file, once the last piece has come
   */
  async receive(
    part: UploadPart,
    pieces: AsyncIterable<Piece>,
    ending: () => string | undefined,
    signal: AbortSignal,
  ): Promise<number> {
    checkUploadId(part.uploadId);
    checkBytes('the file', part.fileBytes, 1, MAX_FILE_BYTES);
    checkBytes('the allocated part of the file', part.allocatedBytes, 0, MAX_FILE_BYTES);
    checkBytes('a position', part.offset, 0, part.fileBytes);
    return this.deps.uploads.alone(part.uploadId, signal, (either) => this.take(part, pieces, ending, either));
  }

  private async take(
    { uploadId, fileBytes, allocatedBytes, offset }: UploadPart,
    pieces: AsyncIterable<Piece>,
    ending: () => string | undefined,
    signal: AbortSignal,
  ): Promise<number> {
    const { disks, uploads } = this.deps;
    if (await disks.hasUpload(uploadId)) {
      await this.insistSame(uploadId, await endOf(untilAborted(pieces, signal), ending), signal);
      return fileBytes;
    }
    // noted before it is there, so that it goes with the job, however this agent ends
    await uploads.keep(uploadId);
    const file = { fileBytes, allocatedBytes: allocatedBytes || fileBytes, offset };
    const sink = await disks.resumable.open(uploadId, file);
    try {
      const put = (piece: Piece) => (typeof piece === 'number' ? sink.skip(piece) : sink.write(piece));
      await sink.finish(await endOf(untilAborted(pieces, signal), ending, put), signal);
      return fileBytes;
    } finally {
      await sink.close();
    }
  }

  /** All of it has come before: who sends the same finds it done, and another file is not taken for it. */
  private async insistSame(uploadId: string, sha256: string, signal: AbortSignal): Promise<void> {
    if ((await this.deps.disks.resumable.digest(uploadId, signal)) === sha256.toLowerCase()) return;
    throw new ClusterError(
      'DIGEST_MISMATCH',
      'another file of this size has been uploaded whole before; nothing of either becomes the volume. Upload again',
    );
  }

  private async run(w: InstallWanted, work: Work): Promise<ImageOutcome> {
    const { disks } = this.deps;
    const there = await disks.findVolume(w.volumeId);
    if (there) return installed(there, w);
    work.signal.throwIfAborted();
    this.reading.add(w.uploadId);
    try {
      if (!(await disks.hasUpload(w.uploadId)))
        throw notFound(`upload ${w.uploadId} is not on this host; send the file again`);
      const disk = await disks.work.openUploaded(w.uploadId, w, work);
      try {
        insistSize(w, disk.sizeBytes);
        const { sizeBytes, fileBytes, sourceDigest } = disk;
        const spec = { volumeId: w.volumeId, vmId: '', imageDigest: undefined, sizeBytes };
        const where = { ...(w.format === 'raw' && { format: w.format }), ...(w.poolId && { poolId: w.poolId }) };
        await disks.work.install({ ...spec, ...where }, disk, work);
        return { digest: '', virtualSizeBytes: sizeBytes, fileBytes, sourceDigest };
      } finally {
        await disk.close();
      }
    } finally {
      this.reading.delete(w.uploadId);
    }
  }
}

/** SHA-256 that was told after the last piece. @throws CANCELLED: the stream broke off */
async function endOf(
  pieces: AsyncIterable<Piece>,
  ending: () => string | undefined,
  put: (piece: Piece) => Promise<void> = () => Promise.resolve(),
): Promise<string> {
  for await (const piece of pieces) await put(piece);
  const sha256 = ending();
  if (sha256 === undefined) throw new ClusterError('CANCELLED', 'the upload broke off; it can go on');
  return sha256;
}

function insistSize({ sizeBytes }: InstallWanted, found: number): void {
  if (sizeBytes === 0 || sizeBytes === found) return;
  throw new ClusterError(
    'UNSAFE_IMAGE',
    `the uploaded file holds a disk of ${formatBytes(found)}, and was said to hold one of ${formatBytes(sizeBytes)}`,
    { subject: 'the uploaded file' },
  );
}

/** By a call before this one. */
function installed(there: VolumeSeen, { poolId = '', format, volumeId }: InstallWanted): ImageOutcome {
  if (there.seed || there.vmId !== '' || (there.poolId ?? '') !== poolId || formatOf(there) !== format)
    throw badState(`volume ${volumeId} is on this host already, as another`);
  return { digest: '', virtualSizeBytes: there.sizeBytes, fileBytes: there.allocatedBytes, sourceDigest: '' };
}
