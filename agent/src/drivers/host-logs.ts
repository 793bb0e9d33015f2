/** The logs driver: what a host writes down. Real one: drivers/linux/logs; simulated: drivers/sim. */

export const LOG_SOURCES = ['agent', 'libvirt', 'kernel', 'qemu'] as const;
export type LogSource = (typeof LOG_SOURCES)[number];

export interface LogLine {
  /** 0: not known. */
  readonly atMs: number;
  readonly text: string;
}

export interface LogWanted {
  readonly source: LogSource;
  /** Of `qemu`: the name of the domain, as libvirt has it. Checked by the driver as well: it becomes the name of a file. */
  readonly domain: string;
  /** 0: all. */
  readonly sinceMs: number;
  /** The last so many. */
  readonly tailLines: number;
  readonly follow: boolean;
}

export interface HostLogs {
  /**
   * In batches, oldest first. Ends when all is read, or with the signal when following.
   * BAD_STATE: the host keeps no such log, with what to do; NOT_FOUND: there is none of this domain.
   */
  read(wanted: LogWanted, signal: AbortSignal): AsyncIterable<readonly LogLine[]>;
}
