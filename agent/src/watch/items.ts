/** What a watch tells, in our own types. rpc/watch.ts puts it on the wire. */
import type { Bridge, HostFacts, HostStatistics } from '@berth/shared/model/host.ts';
import type { DomainSeen, SilentDomain } from '../drivers/hypervisor.ts';
import type { ImageSeen, VolumeSeen } from '../drivers/disks.ts';
import { readMark } from '../domain/metadata.ts';
import type { OperationView } from '../operations/operation.ts';

export interface DomainReport {
  readonly uuid: string;
  readonly name: string;
  readonly power: DomainSeen['power'];
  readonly reason: string;
  /** Empty for a foreign domain. */
  readonly vmId: string;
  readonly specHash: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
}

export interface DomainUse {
  readonly uuid: string;
  /** Share of one CPU. */
  readonly cpuUsed: number;
  readonly memoryUsedBytes: number;
  readonly blockReadBytes: bigint;
  readonly blockWriteBytes: bigint;
  readonly netReceiveBytes: bigint;
  readonly netTransmitBytes: bigint;
  readonly figures?: DomainFigures | undefined;
}

/** Per second over `overMs`, and means within it; 0 there: not known yet. proto/berth/agent/v1/watch.proto says what each is. */
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
  readonly pools: readonly { readonly name: string; readonly sizeBytes: number; readonly freeBytes: number }[];
}

export interface Sample extends HostStatistics {
  readonly figures?: HostFigures | undefined;
  readonly domains: readonly DomainUse[];
  /** Left out of `domains`: their QEMU does not answer. */
  readonly silent?: readonly SilentDomain[];
}

export type SourceName = 'domains' | 'volumes' | 'images' | 'bridges';
export const SOURCES: readonly SourceName[] = ['domains', 'volumes', 'images', 'bridges'];

export type ObjectKind = 'domain' | 'volume' | 'image' | 'bridge';

export type WatchItem =
  | { readonly type: 'host'; readonly host: HostFacts }
  | { readonly type: 'domain'; readonly domain: DomainReport }
  | { readonly type: 'volume'; readonly volume: VolumeSeen }
  | { readonly type: 'image'; readonly image: ImageSeen }
  | { readonly type: 'bridge'; readonly bridge: Bridge }
  | { readonly type: 'operation'; readonly operation: OperationView }
  | { readonly type: 'removed'; readonly kind: ObjectKind; readonly id: string }
  | { readonly type: 'sources'; readonly complete: readonly SourceName[] }
  | { readonly type: 'begin' }
  | { readonly type: 'end'; readonly complete: readonly SourceName[] }
  | { readonly type: 'statistics'; readonly sample: Sample }
  | { readonly type: 'heartbeat' };

export function domainReport(seen: DomainSeen): DomainReport {
  const mark = readMark(seen.metadataXml);
  return {
    uuid: seen.uuid,
    name: seen.name,
    power: seen.power,
    reason: seen.reason,
    vmId: mark?.vmId ?? '',
    specHash: mark?.specHash ?? '',
    memoryBytes: seen.memoryBytes,
    vcpus: seen.vcpus,
  };
}
