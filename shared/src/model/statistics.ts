/** How busy a domain and a host are, as their agent tells it. Plain data; proto/berth/agent/v1/watch.proto says what each is. */

/** Per second over `overMs`, and means within it; 0 there: not known yet. bytes, counts and milliseconds. */
export interface DomainFigures {
  readonly overMs: number;
  readonly blockReadBytes: number;
  readonly blockWriteBytes: number;
  readonly blockReads: number;
  readonly blockWrites: number;
  readonly blockFlushes: number;
  readonly blockReadMs: number;
  readonly blockWriteMs: number;
  readonly blockFlushMs: number;
  readonly netReceiveBytes: number;
  readonly netTransmitBytes: number;
  readonly netReceivePackets: number;
  readonly netTransmitPackets: number;
  readonly netErrors: number;
  readonly balloonBytes: number;
  readonly guestTotalBytes: number;
  readonly guestUsableBytes: number;
}

export interface NicFigures {
  readonly name: string;
  readonly kind: string;
  readonly receiveBytes: number;
  readonly transmitBytes: number;
  readonly receivePackets: number;
  readonly transmitPackets: number;
  readonly errors: number;
  readonly drops: number;
}

/** As above, of the machine itself. */
export interface HostFigures {
  readonly overMs: number;
  readonly cpuIowait: number;
  readonly cpuSteal: number;
  readonly load5: number;
  readonly load15: number;
  readonly memoryBytes: number;
  readonly swapBytes: number;
  readonly swapUsedBytes: number;
  readonly diskReadBytes: number;
  readonly diskWriteBytes: number;
  readonly diskReads: number;
  readonly diskWrites: number;
  readonly nics: readonly NicFigures[];
  readonly pools: readonly PoolFigures[];
}

export interface PoolFigures {
  readonly name: string;
  readonly sizeBytes: number;
  readonly freeBytes: number;
}
