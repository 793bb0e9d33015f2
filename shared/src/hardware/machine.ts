/** What is looked at together when a definition is checked. Shapes only. */
import type { CdromBus, DiskOptions, Hardware, NicOptions } from './schema.ts';

export interface Cdrom {
  readonly target: string;
  readonly bus: CdromBus;
}

/** What is looked at together: the hardware with the sizes, disks and cards that it belongs to. */
export interface Machine {
  readonly vcpus: number;
  readonly memoryBytes: number;
  readonly hardware: Hardware;
  readonly disks: readonly { readonly target: string; readonly options?: DiskOptions | undefined }[];
  readonly cdroms: readonly Cdrom[];
  readonly nics: readonly { readonly model: string; readonly options?: NicOptions | undefined }[];
}

/** A field, by its path, and what is wrong with it. */
export type Fault = readonly [path: string, why: string];
