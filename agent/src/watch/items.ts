/** What a watch tells, in our own types. rpc/watch.ts puts it on the wire. */
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import type { PoolSeen } from '@berth/shared/model/pool.ts';
import type { Bridge, HostFacts, HostStatistics } from '@berth/shared/model/host.ts';
import type { DomainFigures } from '@berth/shared/model/statistics.ts';
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

export interface Sample extends HostStatistics {
  readonly domains: readonly DomainUse[];
  /** Left out of `domains`: their QEMU does not answer. */
  readonly silent?: readonly SilentDomain[];
}

export type SourceName = 'domains' | 'volumes' | 'images' | 'bridges' | 'pools' | 'networks';
export const SOURCES: readonly SourceName[] = ['domains', 'volumes', 'images', 'bridges', 'pools', 'networks'];

export type ObjectKind = 'domain' | 'volume' | 'image' | 'bridge' | 'guest' | 'pool' | 'network';

export type WatchItem =
  | { readonly type: 'host'; readonly host: HostFacts }
  | { readonly type: 'domain'; readonly domain: DomainReport }
  | { readonly type: 'volume'; readonly volume: VolumeSeen }
  | { readonly type: 'image'; readonly image: ImageSeen }
  | { readonly type: 'bridge'; readonly bridge: Bridge }
  | { readonly type: 'pool'; readonly pool: PoolSeen }
  | { readonly type: 'network'; readonly network: NetworkSeen }
  | { readonly type: 'guest'; readonly uuid: string; readonly guest: GuestSeen }
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
