/**
 * What one host reported: a snapshot applied as a whole, then changes. Bounded; knows nothing of connections or intent.
 * Absence counts only from a source that was complete.
 */
import type { GuestStatus } from '@berth/proto/agent/v1/guest.ts';
import type { WatchMessage } from '@berth/proto/agent/v1/watch.ts';
import type { GuestSeen } from '@berth/shared/model/guest.ts';
import type { Bridge, HostFacts, HostStatistics } from '@berth/shared/model/host.ts';
import type { NetworkSeen } from '@berth/shared/model/network.ts';
import type { PoolSeen } from '@berth/shared/model/pool.ts';
import type { OperationView } from './agent-client.ts';
import {
  toBridge,
  toDigest,
  toDomain,
  toFacts,
  toImage,
  toOperation,
  toStatistics,
  toVolume,
  type DomainRecord,
  type ImageRecord,
  type VolumeRecord,
} from './decode.ts';
import { DomainFiguresTable } from './figures.ts';
import { toGuest } from './guest-decode.ts';
import { toNetwork } from './network-decode.ts';
import { toPool } from './pool-decode.ts';
import { clip, LIMITS } from './limits.ts';

/** What a message changed, for those who follow along. */
export interface Applied {
  readonly domains: readonly { readonly before: DomainRecord | undefined; readonly after: DomainRecord | undefined }[];
  readonly operations: readonly OperationView[];
  /** UUIDs of domains whose guests tell something new. */
  readonly guests?: readonly string[];
  /** Kinds of which the host sent more than is kept. */
  readonly overflow: readonly string[];
  /** A sample of statistics came. */
  readonly counted?: boolean;
}

const NOTHING: Applied = { domains: [], operations: [], overflow: [] };
const COUNTED: Applied = { ...NOTHING, counted: true };
type Message = NonNullable<WatchMessage['message']>;
type Bounded = 'volumes' | 'images' | 'bridges' | 'pools' | 'networks';

/** Derived from the objects, and kept until they change: placement asks every host for it. */
export interface RecordViews {
  readonly bridges: readonly Bridge[];
  readonly foreign: readonly DomainRecord[];
  readonly imageDigests: ReadonlySet<string>;
  readonly volumeIds: ReadonlySet<string>;
  readonly volumesAllocatedBytes: number;
  readonly pools: readonly PoolSeen[];
  readonly networks: readonly NetworkSeen[];
}

class Objects {
  facts: HostFacts | undefined;
  readonly domains = new Map<string, DomainRecord>();
  readonly volumes = new Map<string, VolumeRecord>();
  readonly images = new Map<string, ImageRecord>();
  readonly bridges = new Map<string, Bridge>();
  /** By libvirt's UUID. */
  readonly pools = new Map<string, PoolSeen>();
  readonly networks = new Map<string, NetworkSeen>();
  /** By UUID. */
  readonly guests = new Map<string, GuestSeen>();
  complete: ReadonlySet<string> = new Set();
}

export class HostRecord {
  private current = new Objects();
  private next: Objects | undefined;
  private nextOperations: OperationView[] = [];
  private operationIds: readonly string[] = [];
  private readonly full = new Set<string>();
  private cached: RecordViews | undefined;
  /** By UUID: when a domain went; the newest ones. */
  private readonly gone = new Map<string, number>();
  statistics: HostStatistics | undefined;
  readonly vmStatistics = new DomainFiguresTable();
  /** UUIDs of domains whose QEMU does not answer, and since when. */
  silent: ReadonlyMap<string, number> = new Map();
  bootId: string | undefined;
  /** A whole snapshot has come. */
  reported = false;

  get facts(): HostFacts | undefined {
    return this.current.facts;
  }
  get domains(): ReadonlyMap<string, DomainRecord> {
    return this.current.domains;
  }
  get volumes(): ReadonlyMap<string, VolumeRecord> {
    return this.current.volumes;
  }
  get images(): ReadonlyMap<string, ImageRecord> {
    return this.current.images;
  }
  get guests(): ReadonlyMap<string, GuestSeen> {
    return this.current.guests;
  }
  get views(): RecordViews {
    const { domains, volumes, images, bridges, pools, networks } = this.current;
    this.cached ??= {
      bridges: [...bridges.values()],
      foreign: [...domains.values()].filter((d) => d.vmId === ''),
      imageDigests: new Set(images.keys()),
      volumeIds: new Set(volumes.keys()),
      // those in other pools are counted there
      volumesAllocatedBytes: [...volumes.values()].reduce((sum, v) => sum + (v.poolId ? 0 : v.allocatedBytes), 0),
      pools: [...pools.values()],
      networks: [...networks.values()],
    };
    return this.cached;
  }
  /** Sources whose absence counts. */
  get complete(): ReadonlySet<string> {
    return this.current.complete;
  }

  goneAtMs(uuid: string): number | undefined {
    return this.current.domains.has(uuid) ? undefined : this.gone.get(uuid);
  }

  /** Of the operations in the last snapshot; once. */
  takeOperationIds(): readonly string[] {
    const ids = this.operationIds;
    this.operationIds = [];
    return ids;
  }

  /** Drops a half-received snapshot: its connection is gone. */
  abandonSnapshot(): void {
    this.next = undefined;
    this.nextOperations = [];
  }

  apply(m: Message, nowMs: number): Applied {
    switch (m.$case) {
      case 'begin':
        this.next = new Objects();
        this.nextOperations = [];
        this.bootId = clip(m.value.hostBootId);
        return NOTHING;
      case 'end':
        return this.finish(m.value.sources?.complete ?? [], nowMs);
      case 'heartbeat':
        return NOTHING;
      case 'statistics':
        return this.count(m.value, nowMs);
      case 'sources':
        (this.next ?? this.current).complete = this.wholeOf(m.value.complete);
        return NOTHING;
      case 'operation':
        return this.operation(toOperation(m.value));
      default:
        return this.object(m, nowMs);
    }
  }

  private finish(complete: readonly string[], nowMs: number): Applied {
    const next = this.next;
    if (next === undefined) return NOTHING;
    next.complete = this.wholeOf(complete);
    next.facts ??= this.current.facts;
    const before = this.current.domains;
    const uuids = new Set([...before.keys(), ...next.domains.keys()]);
    const domains = [...uuids].map((uuid) => ({ before: before.get(uuid), after: next.domains.get(uuid) }));
    for (const { before: was, after } of domains) if (was && !after) this.noteGone(was.uuid, nowMs);
    const operations = this.nextOperations;
    this.operationIds = operations.map((o) => o.id);
    this.current = next;
    this.reported = true;
    this.cached = undefined;
    this.abandonSnapshot();
    return { domains, operations, overflow: [...this.full] };
  }

  /** A source of which we keep only a part is not complete. */
  private wholeOf(complete: readonly string[]): ReadonlySet<string> {
    return new Set(complete.slice(0, 16).filter((s) => !this.full.has(s)));
  }

  private operation(view: OperationView): Applied {
    if (this.next === undefined) return { ...NOTHING, operations: [view] };
    if (this.nextOperations.length < LIMITS.operations) this.nextOperations.push(view);
    return NOTHING;
  }

  private object(m: Message, nowMs: number): Applied {
    const into = this.next ?? this.current;
    const live = this.next === undefined;
    if (live) this.cached = undefined;
    switch (m.$case) {
      case 'guest':
        return this.guest(into, m.value, live);
      case 'host':
        into.facts = toFacts(m.value);
        return NOTHING;
      case 'domain':
        return this.domain(into, toDomain(m.value, nowMs), live);
      case 'volume':
        return this.set('volumes', into.volumes, clip(m.value.volumeId, 64), toVolume(m.value));
      case 'image':
        return this.set('images', into.images, toDigest(m.value), toImage(m.value));
      case 'bridge':
        return this.set('bridges', into.bridges, clip(m.value.name, 64), toBridge(m.value));
      case 'pool':
        return this.set('pools', into.pools, clip(m.value.uuid, 64), toPool(m.value));
      case 'network':
        return this.set('networks', into.networks, clip(m.value.uuid, 64), toNetwork(m.value));
      case 'removed':
        return this.removed(into, m.value, live ? nowMs : undefined);
      default:
        return NOTHING;
    }
  }

  private domain(into: Objects, d: DomainRecord, live: boolean): Applied {
    const before = into.domains.get(d.uuid);
    if (before === undefined && into.domains.size >= LIMITS.domains) return this.overflow('domains');
    into.domains.set(d.uuid, d);
    return live ? { ...NOTHING, domains: [{ before, after: d }] } : NOTHING;
  }

  private guest(into: Objects, g: GuestStatus, live: boolean): Applied {
    const uuid = clip(g.uuid, 64);
    if (!into.guests.has(uuid) && into.guests.size >= LIMITS.domains) return this.overflow('domains');
    into.guests.set(uuid, toGuest(g));
    return live ? { ...NOTHING, guests: [uuid] } : NOTHING;
  }

  private set<V>(kind: Bounded, map: Map<string, V>, key: string, value: V): Applied {
    if (!map.has(key) && map.size >= LIMITS[kind]) return this.overflow(kind);
    map.set(key, value);
    return NOTHING;
  }

  private noteGone(uuid: string, nowMs: number): void {
    this.gone.delete(uuid);
    this.gone.set(uuid, nowMs);
    for (const oldest of this.gone.keys()) {
      if (this.gone.size <= LIMITS.domains) break;
      this.gone.delete(oldest);
    }
  }

  /** @param liveMs undefined within a snapshot. */
  private removed(from: Objects, { kind, id }: { kind: string; id: string }, liveMs: number | undefined): Applied {
    if (kind === 'volume') from.volumes.delete(id);
    if (kind === 'image') from.images.delete(id);
    if (kind === 'bridge') from.bridges.delete(id);
    if (kind === 'pool') from.pools.delete(id);
    if (kind === 'network') from.networks.delete(id);
    if (kind === 'guest' || kind === 'domain') from.guests.delete(id);
    if (kind !== 'domain') return NOTHING;
    const before = from.domains.get(id);
    from.domains.delete(id);
    this.vmStatistics.delete(id);
    if (liveMs === undefined || !before) return NOTHING;
    this.noteGone(id, liveMs);
    return { ...NOTHING, domains: [{ before, after: undefined }] };
  }

  /** Each kind is told of once. */
  private overflow(kind: 'domains' | Bounded): Applied {
    if (this.full.has(kind)) return NOTHING;
    this.full.add(kind);
    const objects = this.next ?? this.current;
    objects.complete = this.wholeOf([...objects.complete]);
    return { ...NOTHING, overflow: [kind] };
  }

  private count(s: Extract<Message, { $case: 'statistics' }>['value'], nowMs: number): Applied {
    this.statistics = toStatistics(s);
    this.silent = new Map(s.silent.slice(0, LIMITS.domains).map((d) => [d.uuid, nowMs - Number(d.silentMs)]));
    this.vmStatistics.replace(s.domains.slice(0, LIMITS.domains).filter((d) => this.current.domains.has(d.uuid)));
    return COUNTED;
  }
}
