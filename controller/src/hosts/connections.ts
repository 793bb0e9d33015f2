/**
 * Makes Hosts: one link per enrolled host, kept in step with the inventory; what they report joined with intent; events
 * for people. The state machine of one link is host-link.ts's, the wire connection.ts's.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { fromStatus } from '@berth/shared/errors/wire.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { HostState } from '@berth/shared/model/host.ts';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { VmObserved } from '@berth/shared/model/vm.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Random } from '@berth/shared/runtime/random.ts';
import type { State } from '../state/state.ts';
import { Admission } from './admission.ts';
import type { SecureContext } from 'node:tls';
import type { ServiceError } from '@grpc/grpc-js';
import type { AgentClient } from './agent-client.ts';
import { CertificateClient } from './certificate-client.ts';
import type { CallBegun, Connection } from './connection.ts';
import { agentContext, type TlsIdentity } from './credentials.ts';
import type { FenceSource } from './fence.ts';
import { readMetrics } from './grpc-metrics-client.ts';
import { GuestClient } from './guest-client.ts';
import { GrpcAgentClient } from './grpc-agent-client.ts';
import { HostLink, type LinkDeps } from './host-link.ts';
import type { HostHas, Hosts, HostsEvent, HostStatus } from './hosts.ts';
import { lastSeenVm, seenOf, type SeenHost } from './seen-host.ts';
import { fairly, Misreports } from './misreports.ts';
import { tame } from './limits.ts';
import { OperationBook } from './operations.ts';
import { statusOf } from './status.ts';
import { Reports, type PowerEdge } from './reports.ts';
import { Teller } from './teller.ts';

const SWEEP_MS = 1_000;
/** So many are told in a sweep how often statistics are wanted: all at once would all answer at once. */
const TOLD_PER_SWEEP = 500;

export interface HostsOptions {
  readonly state: State;
  readonly identity: TlsIdentity;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly fence: FenceSource;
  /** How often hosts tell statistics; default 10 s. */
  readonly statisticsIntervalMs?: number;
  /** How often a host that can be told so shall, now; default: as often. */
  readonly wantedIntervalMs?: (hostId: HostId) => number;
  /** Default: 200 connections per second, 256 under way at once. */
  readonly pace?: { readonly perSecond: number; readonly atOnce: number };
  /** What must be done on a host before it counts as up; undefined when nothing. */
  readonly prepare?: (hostId: HostId, agent: AgentClient) => Promise<void> | undefined;
  readonly onPower?: (edge: PowerEdge) => void;
  /** A host has come up; the operations that its agent still keeps. */
  readonly onUp?: (host: { readonly id: HostId; readonly operationIds: readonly string[] }, agent: AgentClient) => void;
  /** What the former run of the controller last heard of a host. */
  readonly lastSeen?: (hostId: HostId) => SeenHost | undefined;
  /** Told of each call to an agent. */
  readonly begun?: CallBegun;
}

export interface RunningHosts extends Hosts {
  start(): void;
  stop(): void;
  /** Stops and starts the link of one host: a new proof that it can be reached. */
  redial(hostId: HostId): void;
  /** Asks about certificates over the connection that is open. HOST_UNREACHABLE when none is. */
  certificates(hostId: HostId): CertificateClient;
  /** The same over a connection of its own, made for `use` and closed after it. */
  withNewConnection<T>(hostId: HostId, use: (c: CertificateClient, serial: () => string) => Promise<T>): Promise<T>;
  /** Text of its metrics, as its agent gives it out. HOST_UNREACHABLE. */
  readMetrics(hostId: HostId, signal: AbortSignal): AsyncIterable<Uint8Array>;
  /** What is known of each host, for the next run of the controller. */
  lastSeen(): Iterable<SeenHost>;
}

export const createHosts = (options: HostsOptions): RunningHosts => new Connections(options);

class Connections implements RunningHosts {
  private readonly links = new Map<HostId, HostLink>();
  private readonly clients = new Map<HostId, AgentClient>();
  private readonly listeners = new Set<(e: HostsEvent) => void>();
  private readonly operations: OperationBook;
  private readonly misreports: Misreports;
  private readonly teller: Teller;
  private readonly reports: Reports;
  private readonly deps: LinkDeps;
  private context: SecureContext;
  private sweeper: Timer | undefined;
  private unsubscribe: (() => void) | undefined;
  private unfollow: (() => void) | undefined;
  private sweptAt = 0;

  constructor(private readonly o: HostsOptions) {
    this.operations = new OperationBook((operationId) => this.emit({ type: 'operation', operationId }));
    this.misreports = new Misreports(o.state);
    this.teller = new Teller(o.state, o.log);
    this.reports = new Reports({
      operations: this.operations,
      misreports: this.misreports,
      teller: this.teller,
      onPower: (edge) => this.o.onPower?.(edge),
      emit: (e) => this.emit(e),
    });
    this.context = agentContext(o.identity);
    this.deps = {
      clock: o.clock,
      random: o.random,
      context: () => this.context,
      isRevoked: (serial) => o.state.tables.certificates.get(serial)?.state === 'revoked',
      fence: o.fence,
      admission: new Admission(o.clock, o.pace ?? { perSecond: 200, atOnce: 256 }),
      statisticsIntervalMs: o.statisticsIntervalMs ?? 10_000,
      begun: o.begun,
      changed: (link, before) => this.changed(link, before),
      applied: (link, what) => this.reports.applied(link, what),
      prepare: (link) => this.o.prepare?.(link.host.id, this.client(link)),
    };
  }

  start(): void {
    this.unsubscribe = this.o.state.subscribe((change) => {
      for (const id of change.touched.get('hosts') ?? []) this.sync(id as HostId);
      if (change.touched.has('certificates')) for (const link of this.links.values()) link.checkRevoked();
    });
    this.unfollow = this.o.identity.subscribe(() => (this.context = agentContext(this.o.identity)));
    for (const host of this.o.state.tables.hosts.values()) this.sync(host.id);
    this.sweptAt = this.o.clock.monotonic();
    this.sweep();
  }

  stop(): void {
    this.unsubscribe?.();
    this.unfollow?.();
    this.sweeper?.cancel();
    for (const link of this.links.values()) link.stop();
    this.links.clear();
    this.listeners.clear();
  }

  status(hostId: HostId): HostStatus {
    const link = this.links.get(hostId);
    const strays = link ? this.misreports.straysOf(hostId, link.record.domains) : [];
    return statusOf(hostId, link, this.o.state.tables.hosts.get(hostId), strays);
  }

  view(hostId: HostId) {
    const link = this.links.get(hostId);
    const reachable = link?.isFresh ?? false;
    return { reachable, complete: reachable && (link?.record.complete.has('domains') ?? false) };
  }

  vm(vmId: VmId): VmObserved | undefined {
    const vm = this.o.state.tables.vms.get(vmId);
    const link = vm?.hostId === undefined ? undefined : this.links.get(vm.hostId);
    if (!vm || !link) return undefined;
    const d = link.record.domains.get(vm.uuid);
    if (link.before) return lastSeenVm(link.before, vm);
    if (d?.vmId !== vmId) return undefined;
    const known = link.record.complete.has('domains');
    return {
      vmId,
      hostId: link.host.id,
      power: known ? d.power : 'unknown',
      reason: known ? d.reason : 'libvirt on its host does not answer',
      seenAtMs: link.lastSeenMs ?? d.seenAtMs,
      silentSinceMs: link.record.silent.get(vm.uuid),
    };
  }

  has(hostId: HostId): HostHas | undefined {
    const link = this.links.get(hostId);
    if (!link?.record.reported) return undefined;
    const { domains, volumes, images, complete } = link.record;
    return {
      domains,
      volumes,
      images,
      complete: link.isFresh ? complete : new Set(),
      goneAtMs: (uuid) => link.record.goneAtMs(uuid),
    };
  }

  strays(most: number) {
    const all = [...this.misreports.hosts()].flatMap((hostId) => {
      const link = this.links.get(hostId);
      return link ? [{ hostId, domains: this.misreports.straysOf(hostId, link.record.domains) }] : [];
    });
    return fairly(all, most);
  }

  guest(vmId: VmId) {
    const vm = this.o.state.tables.vms.get(vmId);
    const link = vm?.hostId === undefined ? undefined : this.links.get(vm.hostId);
    if (!vm || !link?.isFresh || link.before) return undefined;
    const { domains, guests } = link.record;
    return domains.get(vm.uuid)?.vmId === vmId ? guests.get(vm.uuid) : undefined;
  }

  vmStatistics(vmId: VmId) {
    const vm = this.o.state.tables.vms.get(vmId);
    return vm?.hostId === undefined ? undefined : this.links.get(vm.hostId)?.record.vmStatistics.get(vm.uuid);
  }

  operation(operationId: string) {
    return this.operations.get(operationId);
  }

  agent(hostId: HostId): AgentClient {
    return this.client(this.up(hostId));
  }

  guestClient(hostId: HostId): GuestClient {
    const link = this.up(hostId);
    return new GuestClient({ name: () => link.host.name, connection: () => link.connection, fence: this.o.fence });
  }

  async *readMetrics(hostId: HostId, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const { connection, host } = this.up(hostId);
    if (connection === undefined) return;
    yield* readMetrics(connection, signal, (e) =>
      fromStatus(tame(e as ServiceError), 'HOST_UNREACHABLE', `host ${host.name}`),
    );
  }

  private up(hostId: HostId): HostLink {
    const link = this.links.get(hostId);
    if (link?.isUp) return link;
    const name = this.o.state.tables.hosts.get(hostId)?.name ?? hostId;
    const why = link?.reason ? `: ${link.reason}` : '';
    throw new ClusterError('HOST_UNREACHABLE', `host ${name} is ${link?.state ?? 'gone'}${why}`, { host: name });
  }

  subscribe(listener: (e: HostsEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  redial(hostId: HostId): void {
    this.links.get(hostId)?.dialSoon();
  }

  certificates(hostId: HostId): CertificateClient {
    const link = this.links.get(hostId);
    return this.certificateClient(hostId, () => (link?.isUp ? link.connection : undefined));
  }

  async withNewConnection<T>(hostId: HostId, use: (c: CertificateClient, serial: () => string) => Promise<T>) {
    const connection = this.links.get(hostId)?.newConnection();
    try {
      return await use(
        this.certificateClient(hostId, () => connection),
        () => connection?.peerSerial ?? '',
      );
    } finally {
      connection?.close();
    }
  }

  private certificateClient(hostId: HostId, connection: () => Connection | undefined): CertificateClient {
    const name = () => this.o.state.tables.hosts.get(hostId)?.name ?? hostId;
    return new CertificateClient({ name, connection, fence: this.o.fence });
  }

  *lastSeen(): IterableIterator<SeenHost> {
    for (const link of this.links.values()) {
      const seen = seenOf(link);
      if (seen) yield seen;
    }
  }

  private emit(e: HostsEvent): void {
    for (const listener of this.listeners) listener(e);
  }

  private sync(id: HostId): void {
    const host = this.o.state.tables.hosts.get(id);
    const link = this.links.get(id);
    if (host === undefined) return this.remove(id, link);
    if (link) return link.update(host);
    const made = new HostLink(host, this.deps, this.o.lastSeen?.(id));
    this.links.set(id, made);
    made.dialSoon();
  }

  private remove(id: HostId, link: HostLink | undefined): void {
    link?.stop();
    this.links.delete(id);
    this.clients.delete(id);
    this.operations.forgetHost(id);
    this.misreports.forget(id);
  }

  /** A late sweep means that this process was busy, not that the hosts are silent: let their messages in first. */
  private sweep(): void {
    const now = this.o.clock.monotonic();
    if (now - this.sweptAt < 2 * SWEEP_MS) for (const link of this.links.values()) link.tick();
    this.keepRhythms();
    this.sweptAt = now;
    this.sweeper = this.o.clock.after(SWEEP_MS, () => this.sweep());
  }

  private keepRhythms(): void {
    const { wantedIntervalMs } = this.o;
    if (wantedIntervalMs === undefined) return;
    let left = TOLD_PER_SWEEP;
    for (const link of this.links.values()) {
      if (link.keepRhythm(wantedIntervalMs(link.host.id))) left--;
      if (left === 0) return;
    }
  }

  private client(link: HostLink): AgentClient {
    const id = link.host.id;
    const known = this.clients.get(id);
    if (known) return known;
    const made = new GrpcAgentClient({
      name: () => link.host.name,
      connection: () => link.connection,
      fence: this.o.fence,
      expect: (operationId) => this.operations.expect(id, operationId),
      noted: (view) => this.operations.note(id, view),
      acknowledged: (prefixes) => this.operations.forgetPrefixes(id, prefixes),
    });
    this.clients.set(id, made);
    return made;
  }

  private changed(link: HostLink, before: HostState): void {
    const { host, state, reason } = link;
    this.o.log.info({ host: host.name, state, before, reason }, 'host state changed');
    this.teller.state(host.name, { before, state, reason });
    this.emit({ type: 'status', hostId: host.id });
    this.emit({ type: 'host', hostId: host.id, state });
    if (link.isUp && before !== 'up' && before !== 'maintenance')
      this.o.onUp?.({ id: host.id, operationIds: link.record.takeOperationIds() }, this.client(link));
    if (before === 'connecting' && state !== 'up') return;
    for (const d of link.record.domains.values()) if (d.vmId !== '') this.emit({ type: 'vm', vmId: d.vmId as VmId });
  }
}
