/** What may be asked of a host's logs. Types only; grpc-log-client.ts asks. */

export interface HostLogLine {
  /** 0: not known. */
  readonly atMs: number;
  /** On one line, without what drives terminals. */
  readonly text: string;
}

export interface HostLogWanted {
  readonly source: string;
  readonly uuid: string;
  readonly name: string;
  readonly sinceMs: number;
  readonly tailLines: number;
  readonly follow: boolean;
}

/** Capability `host.log`. */
export interface LogClient {
  /** Oldest first; ends with the signal when following. */
  read(wanted: HostLogWanted, signal: AbortSignal): AsyncIterable<HostLogLine>;
  /** YAML. */
  configuration(): Promise<string>;
}
