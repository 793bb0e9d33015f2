/** Images and their copies on hosts. Plain data; no I/O. */
import type { VmDefinition } from '../hardware/definition.ts';
import type { HostId, ImageId } from './ids.ts';
import { LATEST } from './image-name.ts';

export interface Image {
  readonly id: ImageId;
  /** With its version, where it has one: `debian:12.3`. */
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
  /** Beside its version: `stable`; `latest` where somebody said which that is. */
  readonly tags?: readonly string[] | undefined;
  /** What a VM made of it gets where nothing else is said. */
  readonly defaults?: VmDefinition | undefined;
  /** Made to clone a VM: not listed, and gone when nothing is based on it. */
  readonly hidden?: boolean | undefined;
  /** Of a hidden one: labels of the VM when it was made. Who may operate such a VM may clone it. */
  readonly ownerLabels?: Readonly<Record<string, string>> | undefined;
  /** Where it came from, for people, when it was no upload: `vm web, stopped`. */
  readonly origin?: string | undefined;
  /** What cleaning up leaves is never less; absent: 1. */
  readonly keepCopies?: number | undefined;
}

/** That a host has a whole, verified copy. Key: `<image id>/<host id>`. */
export interface ImageCopy {
  readonly imageId: ImageId;
  readonly hostId: HostId;
  readonly fileBytes: number;
  /** Since when nothing on the host needs it, as far as anybody has looked; absent: it was needed. */
  readonly unusedSinceMs?: number | undefined;
}

export const imageCopyKey = (c: { imageId: ImageId; hostId: HostId }): string => `${c.imageId}/${c.hostId}`;

/**
 * Which of the versions of an image its name alone means: the one that was said to be, else the newest that is whole, else
 * the newest.
 */
export function latestOf(versions: readonly Image[]): Image | undefined {
  const said = versions.find((i) => i.tags?.includes(LATEST));
  if (said) return said;
  const newest = (all: readonly Image[]): Image | undefined =>
    [...all].sort((a, b) => b.createdAtMs - a.createdAtMs || (a.id < b.id ? 1 : -1))[0];
  return newest(versions.filter((i) => i.state === 'available')) ?? newest(versions);
}
