/** What a definition takes from the host that it is for. A type; domains.ts fills it. */
import type { BlockSource } from '../../drivers/disks.ts';

export interface DomainHost {
  readonly domainType: 'kvm' | 'qemu';
  readonly emulatorPath: string;
  /** The pool takes O_DIRECT. */
  readonly directIo: boolean;
  readonly serialLogPath: string;
  /** Where kernels for direct boot lie. */
  readonly bootDir: string;
  volumePath(volumeId: string, seed: boolean): string;
  /** The pool of this volume takes O_DIRECT, whatever the host's own folder does. Absent: as that. */
  volumeDirectIo?(volumeId: string): boolean;
  /** Of a volume that is no file. */
  volumeSource?(volumeId: string): BlockSource | undefined;
  /** Of the file itself, whatever the spec says. */
  volumeFormat(volumeId: string): 'qcow2' | 'raw';
  /** File of the image that a volume is an overlay of. */
  imagePath(volumeId: string): string | undefined;
  /** Socket through which the image of a volume is read while it is not whole here. */
  baseSocket?(volumeId: string): string | undefined;
  /** File of an image that lies in a CD-ROM drive. */
  mediumPath(digest: string): string;
}
