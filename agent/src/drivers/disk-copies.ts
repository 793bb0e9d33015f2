/**
 * Copies of disks of running guests, live: libvirt copies what a disk's own file holds into another file, keeps both alike, and
 * in the end has the guest go on with the other one. One at a time per disk. Part of the hypervisor driver (hypervisor.ts).
 */

export interface CopyProgress {
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Both are alike now, and stay so. */
  readonly ready: boolean;
}

export interface DiskCopies {
  /**
   * Begins to copy what a disk's own file holds, and not what is below it, into a file that is there: one overlay becomes another.
   * @param target of the disk, as vda @param destXml a `<disk>` with its whole chain @param how `deep`: all that the guest sees is
   * copied, what is below the disk's own file too. BAD_STATE when the guest is off or copies already.
   */
  begin(uuid: string, target: string, destXml: string, how?: { readonly deep: boolean }): Promise<void>;
  /** Undefined when none runs. */
  progress(uuid: string, target: string): Promise<CopyProgress | undefined>;
  /** The guest goes on with the other file when it returns. BAD_STATE while not ready. */
  pivot(uuid: string, target: string): Promise<void>;
  /** Gives the copy up; the guest stays where it is. None is fine. */
  abort(uuid: string, target: string): Promise<void>;
}
