/**
 * The contract between the rest of the controller and its hosts: who is reachable, what they reported, and how to ask
 * them. Types only; made by connections.ts. Observation lives in memory here, never in the inventory.
 */
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { Bridge, HostFacts, HostState, HostStatistics } from '@berth/shared/model/host.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import type { PoolSeen } from '@berth/shared/model/pool.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { HostView, VmObserved } from '@berth/shared/model/vm.ts';
import type { AgentClient, OperationView } from './agent-client.ts';
import type { DomainRecord, ImageRecord, VolumeRecord } from './decode.ts';
import type { VmStatistics } from './figures.ts';
import type { GuestClient } from './guest-client.ts';

export interface ForeignDomain {
  /** Of one that says it is a VM which does not live there; otherwise empty or absent. */
  readonly vmId?: string;
  readonly uuid: string;
  readonly name: string;
  readonly power: string;
  readonly memoryBytes: number;
  readonly vcpus: number;
}

export interface HostStatus {
  readonly hostId: HostId;
  readonly state: HostState;
  readonly reason: string;
  readonly sinceMs: number;
  readonly lastSeenMs: number | undefined;
  readonly facts: HostFacts | undefined;
  readonly statistics: HostStatistics | undefined;
  readonly bridges: readonly Bridge[];
  readonly foreign: readonly ForeignDomain[];
  /** Digests of images that the host reports whole. */
  readonly imageDigests: ReadonlySet<string>;
  readonly volumeIds: ReadonlySet<string>;
  /** What our volumes take in the pool now; their thin growth up to that costs no free space. Absent: not known, 0. */
  readonly volumesAllocatedBytes?: number;
  /** Storage pools, those that Berth did not make too. Absent: none. */
  readonly pools?: readonly PoolSeen[];
  /** Logical networks, and those of libvirt that Berth did not make. Absent: none. */
  readonly networks?: readonly NetworkSeen[];
  /** Sources whose absence counts. */
  readonly complete: ReadonlySet<string>;
}

/** Everything that a host reports, as it reports it; of its current connection, or of the last one. */
export interface HostHas {
  /** By UUID, foreign ones too. */
  readonly domains: ReadonlyMap<string, DomainRecord>;
  /** By volume id. */
  readonly volumes: ReadonlyMap<string, VolumeRecord>;
  /** By digest. */
  readonly images: ReadonlyMap<string, ImageRecord>;
  /** Sources whose absence counts now. */
  readonly complete: ReadonlySet<string>;
  /** Of a domain that went while this run of the controller looked on. */
  goneAtMs(uuid: string): number | undefined;
}

export interface Hosts {
  /** Undefined until the host has reported to this run of the controller. */
  has(hostId: HostId): HostHas | undefined;
  /** Domains that say they are VMs which do not live on their host, at most so many. */
  strays(most: number): readonly { readonly hostId: HostId; readonly domain: DomainRecord }[];
  status(hostId: HostId): HostStatus;
  /** For vmState(). */
  view(hostId: HostId): HostView;
  vm(vmId: VmId): VmObserved | undefined;
  /** What it says of itself; undefined when it is off, or its host does not report now. */
  guest(vmId: VmId): GuestSeen | undefined;
  vmStatistics(vmId: VmId): VmStatistics | undefined;
  /** Last state of an agent operation that Watch told of: progress for people, and a nudge; never an input. */
  operation(operationId: string): OperationView | undefined;
  /** Throws HOST_UNREACHABLE at once when the host is not connected. */
  agent(hostId: HostId): AgentClient;
  /** For what is asked of guests at once. Throws as `agent`. */
  guestClient(hostId: HostId): GuestClient;
  /** An operation ended or needs a source, a VM changed power, a host came up or went. */
  subscribe(listener: (e: HostsEvent) => void): () => void;
}

export type HostsEvent =
  /** What status() says of it has changed in any way; comes often. */
  | { readonly type: 'status'; readonly hostId: HostId }
  /** A sample of its statistics came. */
  | { readonly type: 'statistics'; readonly hostId: HostId }
  | { readonly type: 'host'; readonly hostId: HostId; readonly state: HostState }
  | { readonly type: 'vm'; readonly vmId: VmId }
  | { readonly type: 'operation'; readonly operationId: string };
