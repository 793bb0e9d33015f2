/**
 * The part of the disk driver that works on what volumes hold: sizes, owners, formats. No domain that runs has a volume that it is
 * asked to work on; whoever calls has made sure of that, and has the volume's turn. Errors as of disks.ts.
 */
import type { Disks, LongWork, VolumeFormat, VolumeSpec } from './disks.ts';

export interface MakeSpec extends VolumeSpec {
  readonly preallocation: 'off' | 'metadata' | 'falloc' | 'full';
  /** Of a qcow2. */
  readonly clusterBytes: number;
  readonly lazyRefcounts: boolean;
}

export interface RewriteSpec {
  readonly format: VolumeFormat;
  /** What it shall be based on: its image, or one when it has none. */
  readonly imageDigest: string | undefined;
  /** Left alone when it is so already. */
  readonly ifOther: boolean;
}

export interface VolumeWork {
  /** As `ensureVolume`, with what can be chosen besides; an empty vm id makes a volume of nobody. */
  make(spec: MakeSpec, work: LongWork): Promise<void>;
  /** Twice is once. BAD_STATE when it is neither of `from` nor of `to`. */
  assign(volumeId: string, owners: { readonly from: string; readonly to: string }): Promise<void>;
  /**
   * Has that size already: fine. BAD_STATE when it would become smaller without `shrink`, or something that is in it would be cut
   * off.
   */
  resize(volumeId: string, sizeBytes: number, how: { readonly shrink: boolean }, work: LongWork): Promise<void>;
  /** Writes it anew, without what is zero. With no image below it, it has all that was in its former one. */
  rewrite(volumeId: string, wanted: RewriteSpec, work: LongWork): Promise<void>;
  /** Overwrites all that it holds. It is blank afterwards, or its image again. */
  wipe(volumeId: string, work: LongWork): Promise<void>;
  /** Of a disk that grew under a guest. */
  noteSize(volumeId: string, sizeBytes: number): Promise<void>;
}

/** The whole driver. */
export interface AllDisks extends Disks {
  readonly work: VolumeWork;
}

export const DEFAULT_CLUSTER_BYTES = 65_536;

/** Of a size that nothing was said of. */
export const formatOf = (v: { readonly format?: VolumeFormat | undefined }): VolumeFormat => v.format ?? 'qcow2';
