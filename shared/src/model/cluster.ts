/** What holds for all hosts of a controller together. There is one such cluster. Plain data; no I/O. */
import type { CpuBaseline } from './cpu.ts';

export const DEFAULT_CLUSTER = 'default';

export interface Cluster {
  readonly name: string;
  /** Absent: guests have what each host has. */
  readonly cpu?: CpuBaseline;
  readonly generation: number;
}
