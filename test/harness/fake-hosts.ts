/** The hosts of a cluster in memory, as the controller sees them: reports that lag behind, hosts that come and go. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { NOTHING_SAID, type GuestSeen } from '@berth/shared/model/guest.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { HostView, VmObserved } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { AgentClient, OperationView } from '@berth/controller/hosts/agent-client.ts';
import type { Hosts, HostsEvent, HostStatus } from '@berth/controller/hosts/hosts.ts';
import { FakeHost } from './fake-host.ts';
import { networksSeen, poolsSeen } from './fake-host-parts.ts';
import { facts } from './world-builder.ts';

export interface FakeHostsOptions {
  readonly clock: Clock;
  /** Uniform in [0, 1); seeded, so that a failure can be had again. */
  readonly random: () => number;
  /** Reports come and operations end by the clock. Without it they do after some looks. */
  readonly timed: boolean;
}

/** mulberry32: small, seeded, good enough for tests. */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export class FakeHosts implements Hosts {
  readonly #hosts = new Map<string, FakeHost>();
  readonly #sinceMs = new Map<string, number>();
  readonly #seen = new Map<string, VmObserved>();
  /** Reports on their way: vm id → what it will say. */
  readonly #late = new Map<string, VmObserved | undefined>();
  readonly #listeners = new Set<(e: HostsEvent) => void>();

  constructor(private readonly options: FakeHostsOptions) {}

  add(id: HostId, name: string): FakeHost {
    const host = new FakeHost(id, name, {
      random: this.options.random,
      peer: (peerId) => this.#hosts.get(peerId),
      changed: (_, what) => this.#changed(host, what),
      later: (fn) => this.#later(fn),
      tick: (fn) => this.options.timed && this.#later(fn),
      timed: this.options.timed,
    });
    this.#hosts.set(id, host);
    this.#sinceMs.set(id, this.options.clock.now());
    return host;
  }

  host(id: string): FakeHost {
    const host = this.#hosts.get(id);
    if (!host) throw new Error(`no fake host ${id}`);
    return host;
  }

  all(): readonly FakeHost[] {
    return [...this.#hosts.values()];
  }

  /** Power, or the network to it, goes. */
  cut(id: HostId): void {
    this.host(id).up = false;
    this.disconnect(id);
  }

  disconnect(id: HostId): void {
    if (!this.host(id).connected) return;
    this.host(id).connected = false;
    this.#sinceMs.set(id, this.options.clock.now());
    this.#emit({ type: 'host', hostId: id, state: 'unreachable' });
  }

  /** The controller has reached it again and has its whole report. */
  connect(id: HostId): void {
    const host = this.host(id);
    host.connected = true;
    this.#sinceMs.set(id, this.options.clock.now());
    for (const d of host.domains.values()) {
      this.#report(host, d.wanted.vmId as VmId);
      this.#arrive(d.wanted.vmId as VmId);
    }
    for (const [vmId, seen] of this.#seen)
      if (seen.hostId === id && ![...host.domains.values()].some((d) => d.wanted.vmId === vmId))
        this.#seen.delete(vmId);
    this.#emit({ type: 'host', hostId: id, state: 'up' });
  }

  status(hostId: HostId): HostStatus {
    const host = this.#hosts.get(hostId);
    const up = host?.connected === true;
    return {
      hostId,
      state: up ? 'up' : 'unreachable',
      reason: up ? '' : 'unreachable',
      sinceMs: this.#sinceMs.get(hostId) ?? 0,
      lastSeenMs: undefined,
      facts: host && facts({ hostname: host.name, capabilities: [...facts().capabilities, ...host.capabilities] }),
      statistics: undefined,
      bridges: ['br0', ...[...(host?.networksHere.values() ?? [])].map((n) => n.bridge)].map((name) => ({
        ...{ name, up: true, ports: [], addresses: [], owned: true },
      })),
      foreign: [],
      imageDigests: new Set(host?.images.keys()),
      pools: host ? poolsSeen(host.poolsHere, host.units) : [],
      networks: host ? networksSeen(host.networksHere) : [],
      volumeIds: new Set(host?.volumes.keys()),
      complete: new Set(up ? ['domains', 'volumes', 'images', 'bridges', 'pools', 'networks'] : []),
    };
  }

  view(hostId: HostId): HostView {
    const up = this.#hosts.get(hostId)?.connected === true;
    return { reachable: up, complete: up };
  }

  vm(vmId: VmId): VmObserved | undefined {
    if (!this.options.timed && this.options.random() < 0.5) this.#arrive(vmId);
    return this.#seen.get(vmId);
  }

  strays(): [] {
    return [];
  }

  has(): undefined {
    return undefined;
  }

  guest(vmId: VmId): GuestSeen | undefined {
    for (const host of this.all())
      for (const [uuid, d] of host.domains)
        if (d.wanted.vmId === vmId && d.power !== 'stopped')
          return {
            ...NOTHING_SAID,
            ...{ agent: 'absent', lastResetAtMs: host.resets.get(uuid) ?? 0, frozenAtMs: 0, thawAtMs: 0 },
          };
    return undefined;
  }

  guestClient(): never {
    throw new ClusterError('UNSUPPORTED', 'guests of fake hosts have no agents');
  }

  vmStatistics(): undefined {
    return undefined;
  }

  operation(operationId: string): OperationView | undefined {
    return this.all()
      .map((h) => h.operation(operationId))
      .find((o) => o !== undefined);
  }

  agent(hostId: HostId): AgentClient {
    const host = this.#hosts.get(hostId);
    if (host?.connected) return host;
    throw new ClusterError('HOST_UNREACHABLE', `host ${host?.name ?? hostId} is unreachable`);
  }

  subscribe(listener: (e: HostsEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(e: HostsEvent): void {
    if (e.type === 'host') this.#emit({ type: 'status', hostId: e.hostId });
    for (const listener of this.#listeners) listener(e);
  }

  #later(fn: () => void): void {
    if (this.options.timed) this.options.clock.after(1 + Math.floor(this.options.random() * 500), fn);
    else fn();
  }

  #changed(host: FakeHost, what: { vmId?: string; operationId?: string }): void {
    const { vmId, operationId } = what;
    if (vmId !== undefined) this.#report(host, vmId as VmId);
    if (operationId !== undefined && this.options.timed && host.up)
      this.#later(() => this.#emit({ type: 'operation', operationId }));
  }

  #report(host: FakeHost, vmId: VmId): void {
    const domain = [...host.domains.values()].find((d) => d.wanted.vmId === vmId);
    const seenAtMs = this.options.clock.now();
    const said = {
      vmId,
      hostId: host.id as HostId,
      power: domain?.power ?? 'unknown',
      reason: domain?.reason ?? '',
      seenAtMs,
    } as const;
    this.#late.set(vmId, domain && said);
    if (this.options.timed) this.#later(() => this.#arrive(vmId));
  }

  #arrive(vmId: VmId): void {
    if (!this.#late.has(vmId)) return;
    const said = this.#late.get(vmId);
    this.#late.delete(vmId);
    if (said) this.#seen.set(vmId, said);
    else this.#seen.delete(vmId);
    this.#emit({ type: 'vm', vmId });
  }
}
