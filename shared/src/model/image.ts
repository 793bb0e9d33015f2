/** Images and their copies on hosts. Plain data; no I/O. */
import type { HostId, ImageId } from './ids.ts';

export interface Image {
  readonly id: ImageId;
  readonly name: string;
  readonly state: 'importing' | 'available' | 'deleting';
  /** `sha256:` + hex of the Merkle root over what a guest sees; undefined while importing. */
  readonly digest: string | undefined;
  /** SHA-256 (hex) of the uploaded file. */
  readonly sourceDigest: string | undefined;
  readonly virtualSizeBytes: number;
  readonly createdAtMs: number;
  /** A CD-ROM's: for drives, not to make disks of. */
  readonly medium?: boolean | undefined;
}

/** That a host has a whole, verified copy. Key: `<image id>/<host id>`. */
export interface ImageCopy {
  readonly imageId: ImageId;
  readonly hostId: HostId;
  readonly fileBytes: number;
}

export const imageCopyKey = (c: { imageId: ImageId; hostId: HostId }): string => `${c.imageId}/${c.hostId}`;
