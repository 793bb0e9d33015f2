/**
 * The part of the disk driver that works on what volumes hold: sizes, owners, formats. No domain that runs has a volume that it is
 * asked to work on; whoever calls has made sure of that, and has the volume's turn. Errors as of disks.ts.
 */
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type {
  BlockSource,
  Disks,
  ExportedFile,
  KeptFormat,
  LongWork,
  NetworkSource,
  VolumeFormat,
  VolumeSeen,
  VolumeSpec,
} from './disks.ts';

export interface MakeSpec extends VolumeSpec {
  readonly preallocation: 'off' | 'metadata' | 'falloc' | 'full';
  /** Of a qcow2. */
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
}

export interface RewriteSpec {
  readonly format: KeptFormat;
  /** What it shall be based on: its image, or one when it has none. */
  readonly imageDigest: string | undefined;
  /** Left alone when it is so already. */
  readonly ifOther: boolean;
}

/** The file of a volume on its way to another place. */
export interface VolumeFile {
  readonly fileBytes: number;
  /** What of it is not holes, as far as is known. */
  readonly allocatedBytes: number;
  /** @param offset from there on; default: from its beginning, each time. */
  pieces(signal: AbortSignal, offset?: number): AsyncIterable<Piece>;
  /** Lower-case hex. Another as soon as somebody has written to it: with the same, its bytes are the same. Absent: cannot be told. */
  readonly origin?: string;
  /** In the host's own folder, and to be taken from there: it may be renamed instead of copied. */
  readonly ownPath?: string;
}

/** What was made of an upload, until it is closed. */
export interface UploadedDisk extends StagedDisk {
  /** As a guest will see it. */
  readonly sizeBytes: number;
  /** SHA-256 (hex) of the file that was sent. */
  readonly sourceDigest: string;
}

export interface VolumeWork {
  /** As `ensureVolume`, with what can be chosen besides; an empty vm id makes a volume of nobody. */
  make(spec: MakeSpec, work: LongWork): Promise<void>;
  /** Twice is once. BAD_STATE when it is neither of `from` nor of `to`. */
  assign(volumeId: string, owners: { readonly from: string; readonly to: string }): Promise<void>;
  /**
   * Has that size already: fine. BAD_STATE when it would become smaller without `shrink`, or something that is in it would be cut
   * off.
   * @param mayReplace as of `rewrite`, where that makes a new file
   */
  resize(
    volumeId: string,
    sizeBytes: number,
    how: { readonly shrink: boolean },
    work: LongWork,
    mayReplace?: () => Promise<void>,
  ): Promise<void>;
  /**
   * Writes it anew, without what is zero. With no image below it, it has all that was in its former one.
   * @param mayReplace asked before the new file takes the place of the old one; what it throws leaves that as it is
   */
  rewrite(volumeId: string, wanted: RewriteSpec, work: LongWork, mayReplace?: () => Promise<void>): Promise<void>;
  /** Of one that was ended: no half of a new file is left. Absent is fine. */
  settle(volumeId: string): Promise<void>;
  /** Overwrites all that it holds. It is blank afterwards, or its image again. */
  wipe(volumeId: string, work: LongWork): Promise<void>;
  /**
   * Makes a file of it and of what is in its image, under the name of an upload, to be read by `readStaged`. Twice is once. The caller
   * sees to it that nobody writes to it meanwhile.
   */
  export(exportId: string, volumeId: string, format: FileFormat, work: LongWork): Promise<ExportedFile>;
  /** Its file as it is. The caller sees to it that nobody writes to it meanwhile. NOT_FOUND */
  read(volumeId: string): Promise<VolumeFile>;
  /**
   * Makes it of a file that was read elsewhere, with this host's own path of its image in it: whole and on disk, or not at all. Twice
   * is once. UNSAFE_IMAGE when that refers to anything else, or is no disk of this size.
   */
  install(spec: VolumeSpec, file: VolumeFile, work: LongWork): Promise<void>;
  /**
   * Looks at a finished upload, which a stranger has made, and converts it. The upload stays. UNSAFE_IMAGE.
   * @param fileFormat empty: detect; `raw`: accept without partition table; another: nothing else
   */
  openUploaded(
    uploadId: string,
    as: { readonly fileFormat: string; readonly format: VolumeFormat },
    work: LongWork,
  ): Promise<UploadedDisk>;
  /** The file of a volume that lies here as a finished upload, for `install` to take. NOT_FOUND */
  staged(uploadId: string): Promise<VolumeFile>;
  /** Of a disk that grew under a guest. */
  noteSize(volumeId: string, sizeBytes: number): Promise<void>;
}

/** Images on their way into volumes that are no files. */
export interface BlockWork {
  /** All that its disk holds, in order; at most so many bytes at once. The caller keeps the image meanwhile. NOT_FOUND. */
  readImage(digest: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Writes it to storage behind the network, which is there, large enough and zero. Twice is once. */
  writeOut(digest: string, target: NetworkTarget, work: LongWork): Promise<void>;
  /** These two of a disk in the host's own folder, with what is in its image. The caller sees to it that nobody uses it. */
  readVolume(volumeId: string, signal: AbortSignal): AsyncIterable<Uint8Array>;
  writeVolumeOut(volumeId: string, target: NetworkTarget, work: LongWork): Promise<void>;
  /** All that storage behind the network holds, in order. */
  readIn(target: NetworkTarget, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Writes over storage behind the network from its beginning, where it is zero yet. Twice is once. */
  writeIn(target: NetworkTarget, pieces: AsyncIterable<Piece>, signal: AbortSignal): Promise<void>;
  /** All that a file in a pool holds, with what is in its image. The caller sees to it that nobody uses it. UNSAFE_IMAGE, IN_USE */
  readFile(file: PoolFile, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** Nobody uses a file in a pool, and it is as we made it. UNSAFE_IMAGE, IN_USE */
  insistFree(file: PoolFile, signal: AbortSignal): Promise<void>;
  /**
   * Writes anew what a file in a pool, or of the host's own folder, holds: beside that, in the host's own folder, where there must be
   * room. The caller sees to it that nobody uses it. BAD_STATE when something would be cut off; UNSAFE_IMAGE, IN_USE, DISK_FULL
   */
  rewriteFile(file: PoolFile, wanted: NewPoolFile, work: LongWork): Promise<StagedDisk>;
  /**
   * A copy of an image as large as the volume is to be, which rests on nothing: in the host's own folder, where there must be room, for
   * whoever carries it into a pool. The caller sees to it that the image stays until this has ended. INVALID_ARGUMENT, DISK_FULL
   */
  copyImage(spec: VolumeSpec & { readonly imageDigest: string }, work: LongWork): Promise<StagedDisk>;
  /** As `writeOut`, of a raw file of this host: `VolumeFile.ownPath`. */
  writeFileOut(file: RawFile, target: NetworkTarget, work: LongWork): Promise<void>;
  /** As `VolumeWork.export`, of a disk that is no file here. What is zero in it takes no room. */
  exportDisk(exportId: string, disk: ReadDisk, format: FileFormat, work: LongWork): Promise<ExportedFile>;
  /** As `Disks.captureSnapshot`, of a file in a pool. UNSAFE_IMAGE */
  captureSnapshot(
    uploadId: string,
    of: { readonly file: PoolFile; readonly snapshot: string },
    work: LongWork,
  ): Promise<void>;
  /** As `Disks.captureVolume`, of such a disk. */
  captureDisk(uploadId: string, disk: ReadDisk, work: LongWork): Promise<void>;
}

/** Of a volume, and what it must be. */
export interface PoolFile {
  readonly volumeId: string;
  readonly path: string;
  readonly format: VolumeFormat;
  readonly sizeBytes: number;
  /** File of its image. */
  readonly backing: string | undefined;
}

/** What is made of one. */
export interface NewPoolFile {
  readonly format: VolumeFormat;
  /** File of the image that it is an overlay of: its own one, or, of one without, any that is no larger. */
  readonly base: string | undefined;
  /** Absent: as it is. Never more. */
  readonly sizeBytes?: number;
}

/** A new file in the host's own folder, until it is closed. */
export interface StagedDisk extends VolumeFile {
  /** Removes it, unless it was taken. */
  close(): Promise<void>;
}

export interface RawFile {
  readonly path: string;
  readonly sizeBytes: number;
}

/** A disk that somebody else can read. */
export interface ReadDisk {
  readonly volumeId: string;
  readonly sizeBytes: number;
  /** All of it, in order. */
  pieces(signal: AbortSignal): AsyncIterable<Piece>;
}

export interface NetworkTarget {
  readonly source: NetworkSource;
  /** Of its user. */
  readonly secret: Uint8Array | undefined;
}

/** Uploads that go on after a break; when they are whole they are as those of `openUpload`, and go by `removeUpload` at any time. */
export interface ResumableUploads {
  /** Nobody writes to it meanwhile. */
  find(uploadId: string): Promise<ArrivedBytes>;
  /** SHA-256 (hex) of one that is whole. NOT_FOUND, CANCELLED. */
  digest(uploadId: string, signal: AbortSignal): Promise<string>;
  /** What is there behind `offset` is dropped. INVALID_ARGUMENT when less is there; DISK_FULL leaves what is there. */
  open(uploadId: string, file: ResumedFile): Promise<ResumableSink>;
}

export interface ArrivedBytes {
  readonly receivedBytes: number;
  /** SHA-256 (hex) of the last of them, at most TAIL_BYTES. */
  readonly tailSha256: string;
  /** As it was said when it was opened. */
  readonly origin?: string;
  /** It is a finished upload. */
  readonly whole: boolean;
}

export interface ResumedFile {
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  readonly offset: number;
  /** Of what it is (VolumeFile): then what is found of it later is on disk, also after a power cut, and is the volume's file when it is whole. */
  readonly origin?: string;
}

/** What was written stays until somebody goes on, or removes it; but for DISK_FULL, after which nothing of it is there. */
export interface ResumableSink {
  write(chunk: Uint8Array): Promise<void>;
  /** Goes on after so many zero bytes, which become a hole. */
  skip(bytes: number): Promise<void>;
  /** All has come: it becomes a finished upload. DIGEST_MISMATCH, after which nothing of it is there. */
  finish(sha256: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export const TAIL_BYTES = 16 * 2 ** 20;

/** The whole driver. */
export interface AllDisks extends Disks {
  readonly resumable: ResumableUploads;
  readonly work: VolumeWork;
  readonly blocks: BlockWork;
}

/** Of a file that is taken elsewhere. */
export const FILE_FORMATS = ['raw', 'qcow2', 'vmdk', 'vdi', 'vhdx'] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];

/** Where volumes lie on this host, and moves between pools. `''` is the host's own folder. */
export interface VolumePlaces {
  /** NOT_FOUND */
  home(volumeId: string): Promise<string>;
  /** One that was begun, and not ended: it has, or may have, a file at the other place as well. */
  moving(volumeId: string): MoveNoted | undefined;
  /** Its file at a place. */
  path(volume: VolumeSeen, place: string): string;
  /**
   * Notes that it is to move; from then on `path(to)` may exist.
   * @param how full: what is in its image goes along, and it rests on none there
   */
  begin(volumeId: string, to: string, how?: { readonly full?: boolean }): Promise<void>;
  /**
   * An empty file, or device, for a guest that runs to move to; what was there is gone. The spec of its disk for libvirt. BAD_STATE
   * when the guest sees more of it than the place would hold.
   */
  prepare(volumeId: string): Promise<MovedDisk>;
  /** A copy of its file, on disk; what was there is gone. */
  copy(volumeId: string, work: LongWork): Promise<void>;
  /** From now on it lies where it was to go (or, `back`, where it was). The other file stays. */
  change(volumeId: string, how?: { readonly back: true }): Promise<void>;
  /** Removes the file where it does not lie, and the note of the move. Absent is fine. */
  end(volumeId: string): Promise<void>;
}

export interface MoveNoted {
  readonly from: string;
  readonly to: string;
  /** Under a guest that runs: where that has changed over, libvirt's stored definition says so. */
  readonly mirror: boolean;
  /** To or from a pool without files, or `full`: unless `mirror`, its former place holds it as it was before. */
  readonly was?: object | undefined;
  readonly full?: true | undefined;
}

export interface MovedDisk {
  readonly file: string;
  /** How QEMU gets at one that is no file. Absent: it is a file. */
  readonly source?: BlockSource;
  /** All that the guest sees goes there, and not its own file alone: what is there rests on nothing. */
  readonly deep?: true;
  readonly format: VolumeFormat;
  readonly backingPath: string | undefined;
  /** It can be used without the host's cache. Undefined: as the host's own folder. */
  readonly directIo: boolean | undefined;
}

export const DEFAULT_CLUSTER_BYTES = 65_536;

/** Of a size that nothing was said of. */
export const formatOf = <F extends KeptFormat>(v: { readonly format?: F | undefined }): F | 'qcow2' =>
  v.format ?? 'qcow2';

/** Of a disk that a guest can have. @throws BAD_STATE */
export function runnable({ volumeId, format }: Pick<VolumeSeen, 'volumeId' | 'format'>): VolumeFormat {
  if (format === undefined || format === 'qcow2' || format === 'raw') return formatOf({ format });
  throw badState(`volume ${volumeId} is kept as ${format}, which no vm runs with: convert it to qcow2 or raw first`);
}
