/**
 * The disk driver: images, volumes, seeds and uploads in this host's pool. Real one: drivers/linux/disks over qemu-img,
 * qemu-nbd and qemu-storage-daemon; simulated one: drivers/sim. Knows nothing of peers, tickets or the controller.
 * Errors are ClusterErrors: UNSAFE_IMAGE, DISK_FULL, DIGEST_MISMATCH, NOT_FOUND, IN_USE, CANCELLED.
 */

import type { KeptFormat, VolumeFormat } from '@berth/shared/model/volume.ts';

export interface ImageSeen {
  /** `sha256:<hex>`, see shared/src/disk/digest.ts. */
  readonly digest: string;
  readonly virtualSizeBytes: number;
  readonly fileBytes: number;
}

export interface ImportedImage extends ImageSeen {
  /** SHA-256 (hex) of the uploaded file. */
  readonly sourceDigest: string;
  /** A CD-ROM's. */
  readonly medium?: boolean;
}

export interface VolumeSeen {
  readonly volumeId: string;
  readonly vmId: string;
  readonly sizeBytes: number;
  readonly allocatedBytes: number;
  /** Image it is an overlay of; undefined for blank disks and seeds. */
  readonly imageDigest: string | undefined;
  readonly seed: boolean;
  /** Of the file of a disk. Absent: qcow2. */
  readonly format?: KeptFormat | undefined;
  /** Where it lies. Absent: in the host's own folder, as pool `local`. */
  readonly poolId?: string | undefined;
  /** Whether QEMU shall pass by caches of the host (O_DIRECT). Absent: as the host's own folder. */
  readonly directIo?: boolean;
  /** How QEMU gets at one that is no file. Absent: it is a file. */
  readonly source?: BlockSource;
  /** File of its image, where that is not the host's own copy. */
  readonly backingPath?: string;
  /** Its image is not whole on this host yet: guests read it through a socket (`baseSocket`). */
  readonly filling?: boolean;
  /** It was being made larger, and that did not end: what is new of it no guest may see. */
  readonly growing?: boolean;
  /** A new file may have taken its place, while what is on record is still the old one, or none: it starts no guest until that is settled. */
  readonly unsettled?: boolean;
  /** Of the unit of its pool that it is. */
  readonly unitKey?: string;
}

export type { KeptFormat, VolumeFormat };

/** A device of the host, or storage that QEMU reaches over the network. */
export type BlockSource = { readonly type: 'block'; readonly dev: string } | NetworkSource;

export interface NetworkSource {
  readonly type: 'network';
  readonly protocol: 'rbd';
  /** POOL/VOLUME */
  readonly name: string;
  /** Its servers: NAME, NAME:PORT. */
  readonly hosts: readonly string[];
  /** libvirt keeps the secret. */
  readonly auth?: { readonly user: string; readonly secretUuid: string };
}

/** The path of a volume (`volumePath`) that is no file: it is told by it from all others. */
export const blockPath = (s: BlockSource): string => (s.type === 'block' ? s.dev : `${s.protocol}:${s.name}`);

/** A LUN of a pool. */
export interface UnitWanted {
  readonly name: string;
  /** It must have. */
  readonly key: string;
}

export interface VolumeSpec {
  readonly volumeId: string;
  readonly vmId: string;
  readonly imageDigest: string | undefined;
  readonly sizeBytes: number;
  /** Absent: qcow2. `raw` for blank disks only. */
  readonly format?: VolumeFormat | undefined;
  /** Where it shall lie. Absent: in the host's own folder. */
  readonly poolId?: string | undefined;
  /** Also while its image is still being fetched to this host; the size must be given then. */
  readonly instant?: boolean | undefined;
  /** Of its pool, which it is, with all that is in it. */
  readonly unit?: UnitWanted | undefined;
}

export interface SeedSpec {
  readonly volumeId: string;
  readonly vmId: string;
  /** File name → content: meta-data, user-data, network-config. */
  readonly files: Readonly<Record<string, string>>;
}

export interface UploadSink {
  /** Resolves when the next chunk may come. DISK_FULL leaves nothing behind once aborted. */
  write(chunk: Uint8Array): Promise<void>;
  /** Goes on after so many zero bytes, which become a hole. */
  skip(bytes: number): Promise<void>;
  /** Fsyncs. INVALID_ARGUMENT when fewer or more bytes came than were announced. */
  finish(): Promise<void>;
  /** Removes the staged file. */
  abort(): Promise<void>;
}

export type ExportFormat = 'qcow2' | 'raw' | 'vmdk';

export interface ExportedFile {
  readonly fileBytes: number;
  readonly virtualSizeBytes: number;
  /** Of the file. */
  readonly sha256: string;
}

export interface LongWork {
  /** Aborted with HOST_UNREACHABLE when the agent ends: the work is let go of, and taken up by the next agent. */
  readonly signal: AbortSignal;
  onProgress(doneBytes: number, totalBytes: number): void;
}

/** Of a fetch. */
export interface FetchWork extends LongWork {
  /** UNIX socket that gives the hashes of the image's chunks and then ends. Absent: nobody has any. */
  readonly hashesSocket?: string;
  /** What the source behind the socket gives now is not the image. */
  blame?(why: string): void;
}

export interface CapturedDisk {
  readonly path: string;
  readonly format: VolumeFormat;
  readonly sizeBytes: number;
}

export interface Disks {
  capacity(): Promise<{ readonly diskBytes: number; readonly diskFreeBytes: number }>;

  /** @param allocatedBytes how much of the file is not holes; refused when there is no room for so much. Default: all. */
  openUpload(uploadId: string, fileBytes: number, allocatedBytes?: number): Promise<UploadSink>;
  /** A finished upload. */
  hasUpload(uploadId: string): Promise<boolean>;
  /** A copy that is being captured, too. */
  removeUpload(uploadId: string): Promise<void>;

  /** Copies a volume, on top of its image, to a finished upload. The caller sees to it that nobody writes to it. Twice is once. */
  captureVolume(uploadId: string, volumeId: string, work: LongWork): Promise<void>;
  /** The same of what the volume held in a snapshot, which is all in the copy then; also while a guest runs with the volume. */
  captureSnapshot(
    uploadId: string,
    of: { readonly volumeId: string; readonly snapshot: string },
    work: LongWork,
  ): Promise<void>;
  /** A file to which QEMU can write a copy of a disk of this size. Gives its path. */
  captureTarget(uploadId: string, sizeBytes: number): Promise<string>;
  /** It has, and the copy becomes a finished upload. */
  captureDone(uploadId: string): Promise<void>;
  /** What it has become; undefined: there is no such copy, or it is not finished. */
  capturedDisk(uploadId: string): Promise<CapturedDisk | undefined>;

  /**
   * Makes a file of an image under the name of an upload, to be read by `readStaged`. Twice is once. The caller keeps the image
   * from being removed meanwhile.
   */
  exportImage(exportId: string, digest: string, format: ExportFormat, work: LongWork): Promise<ExportedFile>;
  /** A finished upload or export, from a position on. NOT_FOUND. */
  readStaged(id: string, offset: number, signal: AbortSignal): AsyncIterable<Uint8Array>;

  listImages(): Promise<readonly ImageSeen[]>;
  /**
   * Checks, converts and installs a finished upload, which stays: whoever calls removes it when the answer is safe. So the
   * call can be repeated after a crash at any point; what is installed already is answered at once.
   */
  importImage(uploadId: string, format: string, work: LongWork): Promise<ImportedImage>;
  /**
   * Fills a copy of the image from the NBD export that `sourceSocket` leads to, verifies it and installs it. Whole already:
   * returns at once. The socket may come and go; its helper process outlives the agent and is found again, with what has arrived.
   * Guests may read through `baseSocket` from its beginning; when it is whole, until `endBase`.
   */
  fetchImage(
    image: { digest: string; virtualSizeBytes: number },
    sourceSocket: string,
    work: FetchWork,
  ): Promise<ImageSeen>;
  /** Ends a fetch that was given up, with its helper process and its half-filled copy. IN_USE while a volume rests on it. */
  dropFetch(digest: string): Promise<void>;
  /** IN_USE while a volume is based on it. Absent is fine. */
  removeImage(digest: string): Promise<void>;
  /** Serves an image read-only; the same image is served once. Returns the UNIX socket to connect to. NOT_FOUND when absent. */
  serveImage(digest: string): Promise<string>;
  /** It is being copied to this host, and what has come can be passed on already: `serveImage` and `imageHashes` work. */
  isRelayed(digest: string): Promise<boolean>;
  /** The hashes of its chunks, for a host that fetches it. NOT_FOUND when absent. */
  imageHashes(digest: string): Promise<Buffer>;

  /** UNIX socket (NBD export `base`) through which guests read an image that is not whole yet. */
  baseSocket(digest: string): string;
  /** Resolves when it can be connected to. Of a whole image: serves it there. @throws PEER_UNAVAILABLE */
  openBase(digest: string): Promise<void>;
  /** It has been opened, and not ended: a guest may rest on it. */
  hasBase(digest: string): Promise<boolean>;
  /** Somebody gives what is missing, or nothing is. */
  isBaseServed(digest: string): Promise<boolean>;
  /** Nobody reads through it any more. Nothing while the image is not whole. */
  endBase(digest: string): Promise<void>;
  /**
   * An empty overlay over the whole image, for a guest to move to: under the other of the volume's two names (`volumePath`,
   * `movedPath`) than the one that the guest has. What was there is overwritten. DISK_FULL: the overlay is there, empty.
   */
  beginMove(volumeId: string, guestHas: string): Promise<string>;
  /** The volume is what lies under its second name; both names lead to it until `endMove`. Twice is once. */
  finishMove(volumeId: string): Promise<void>;
  /** There is a second file, or name. */
  isMoving(volumeId: string): Promise<boolean>;
  /** There are two files: which of them is the disk only its domain says (domain/moved-disks.ts). */
  hasTwoFiles(volumeId: string): Promise<boolean>;
  /** Removes the second name, or what an unfinished move left. Absent is fine. */
  endMove(volumeId: string): Promise<void>;
  movedPath(volumeId: string): string;

  listVolumes(): Promise<readonly VolumeSeen[]>;
  /**
   * A text that is another when a volume or an image has come, gone or become another file, for a look at no file of them. That a file
   * has grown it does not say. Absent: lists cost no more.
   */
  stamp?(): Promise<string>;
  /** One of them, without looking at the others; undefined when there is none. */
  findVolume(volumeId: string): Promise<VolumeSeen | undefined>;
  /** Twice is once; with another size, parent or format: ALREADY_EXISTS. */
  ensureVolume(spec: VolumeSpec): Promise<void>;
  /** As `ensureVolume`, but a copy of its image, which it does not rest on afterwards. */
  ensureFullClone(spec: VolumeSpec & { readonly imageDigest: string }, work: LongWork): Promise<void>;
  ensureSeed(spec: SeedSpec): Promise<void>;
  /** Absent is fine. */
  removeVolume(volumeId: string): Promise<void>;
  /** File that a domain uses. */
  volumePath(volumeId: string, seed: boolean, format?: KeptFormat): string;
  /** Where it has, or may have, a second file, because it moves from pool to pool. */
  otherPath?(volumeId: string): string | undefined;
  /** File of an image, for the domains whose volumes are based on it. */
  imagePath(digest: string): string;
  /** File that libvirt's serial log of a VM goes to, and its reader. */
  serialLogPath(vmId: string): string;
  removeSerialLog(vmId: string): Promise<void>;
  /** A piece of the serial log; empty when there is none, or nothing new. INVALID_ARGUMENT for a position that is none. */
  readSerialLog(vmId: string, from: SerialFrom, maxBytes: number): Promise<SerialPiece>;
  /** Gives back the disk space of what no log keeps any more, where nobody rotates them. */
  boundSerialLogs(): Promise<void>;
}

/**
 * Where to read a serial log: at a position that a piece told (empty: the beginning of what is kept), or so many bytes before
 * its end (Infinity: the beginning).
 */
export type SerialFrom = { readonly position: string } | { readonly lastBytes: number };

export interface SerialPiece {
  readonly data: Uint8Array;
  /** Where it ends: good over rotations and restarts. Empty while there is no log. */
  readonly position: string;
  /** What lay between the position that was asked for and this data is not kept any more. */
  readonly gap: boolean;
}
