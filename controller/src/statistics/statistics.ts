/**
 * How busy VMs and hosts are, now and in the last ten minutes. Listens to what hosts report and keeps it in memory, never in the
 * database. Reads only; asks no host itself, but says who is looked at.
 */
import type { Host } from '@berth/shared/model/host.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { resolve } from '../app/names.ts';
import { pageByName, type PageQuery } from '../app/pages.ts';
import { viewVm, type VmView } from '../app/vm-view.ts';
import type { VmStatistics } from '../hosts/figures.ts';
import type { Hosts, HostsEvent } from '../hosts/hosts.ts';
import type { State } from '../state/state.ts';
import { UNWATCHED, type Demand } from './demand.ts';
import { History, type Point } from './history.ts';
import { hostNow, hostRow, hostValues, vmValues, type HostNow } from './now.ts';
import { First, readSort } from './order.ts';
import { isOn, VmRows, type VmRow } from './rows.ts';

export interface StatisticsDeps {
  readonly state: State;
  readonly hosts: Hosts;
  readonly clock: Clock;
  /** Told of each question. */
  readonly demand: Demand;
}

export interface VmNow {
  readonly view: VmView;
  readonly statistics: VmStatistics;
}
export interface Top {
  readonly sort: string;
  readonly limit: number;
}
export type Total = First<never>['total'];
export interface Found<R> {
  readonly items: readonly R[];
  readonly nextPageToken: string;
  readonly total: Total | undefined;
}
export interface Past {
  readonly stepMs: number;
  readonly points: readonly Point[];
}

/** One answer serves all who ask the same within this time. */
const SHARE_MS = 1_000;
const MOST_SHARED = 32;

export class Statistics {
  private readonly history: History;
  private readonly rows: VmRows;
  private readonly shared = new Map<string, { readonly atMs: number; readonly answer: unknown }>();
  private readonly ends: (() => void)[] = [];

  constructor(private readonly d: StatisticsDeps) {
    const { everyMs } = d.demand;
    this.history = new History({ everyMs, slowMs: UNWATCHED * everyMs });
    this.rows = new VmRows(d.state.tables, d.hosts);
  }

  start(): void {
    const { hosts, state } = this.d;
    this.ends.push(
      hosts.subscribe((e) => this.on(e)),
      state.subscribe(({ touched }) => {
        const { vms, hosts: rows } = state.tables;
        for (const id of touched.get('vms') ?? []) {
          const vm = vms.get(id);
          if (vm === undefined) this.history.forget(id);
          else this.rows.touch(vm.hostId);
        }
        for (const id of touched.get('hosts') ?? []) if (rows.get(id) === undefined) this.history.forget(id);
      }),
    );
  }

  stop(): void {
    for (const end of this.ends.splice(0)) end();
  }

  /** VMs that are on, in the order of names. */
  listVms(query: PageQuery, only: HostId | undefined, keep: (vm: Vm) => boolean): Found<VmNow> {
    this.d.demand.look(only);
    const { tables } = this.d.state;
    const { items, nextPageToken } = pageByName(
      tables.vms,
      query,
      (vm) => (only === undefined || vm.hostId === only) && keep(vm) && isOn(this.d.hosts.vm(vm.id)),
    );
    return { items: items.flatMap((vm) => this.vmNow(vm) ?? []), nextPageToken, total: undefined };
  }

  /**
   * The first so many VMs that are on.
   * @param key of the question: whoever asks the same gets the same; undefined: nobody else may have this answer.
   */
  topVms({ sort, limit }: Top, only: HostId | undefined, keep: (vm: Vm) => boolean, key: string | undefined) {
    this.d.demand.look(only);
    const first = () => {
      const { vms } = this.d.state.tables;
      const found = new First<VmRow>(readSort(sort), limit);
      for (const row of this.rows.all(only)) {
        const vm = vms.get(row.vmId);
        if (vm && keep(vm)) found.add(row);
      }
      const items = found.take().flatMap((row) => {
        const vm = vms.get(row.vmId);
        return (vm && this.vmNow(vm)) ?? [];
      });
      return { items, nextPageToken: '', total: found.total };
    };
    return this.sharedBy<Found<VmNow>>(key && JSON.stringify(['vms', sort, limit, only, key]), first);
  }

  listHosts(query: PageQuery, keep: (h: Host) => boolean): Found<HostNow> {
    this.d.demand.look();
    const { items, nextPageToken } = pageByName(this.d.state.tables.hosts, query, keep);
    return { items: items.map((h) => this.hostNow(h)), nextPageToken, total: undefined };
  }

  /** As topVms. */
  topHosts({ sort, limit }: Top, keep: (h: Host) => boolean, key: string | undefined): Found<HostNow> {
    this.d.demand.look();
    const first = () => {
      const found = new First<ReturnType<typeof hostRow>>(readSort(sort), limit);
      for (const h of this.d.state.tables.hosts.values()) if (keep(h)) found.add(hostRow(this.hostNow(h)));
      return { items: found.take().map((r) => r.now), nextPageToken: '', total: found.total };
    };
    return this.sharedBy(key && JSON.stringify(['hosts', sort, limit, key]), first);
  }

  vm(nameOrId: string): Past & { readonly vm: Vm; readonly now: VmNow | undefined } {
    const vm = resolve('vm', this.d.state.tables.vms, nameOrId);
    if (vm.hostId !== undefined) this.d.demand.look(vm.hostId);
    return { vm, now: isOn(this.d.hosts.vm(vm.id)) ? this.vmNow(vm) : undefined, ...this.past(vm.id) };
  }

  host(nameOrId: string): Past & { readonly now: HostNow } {
    const host = resolve('host', this.d.state.tables.hosts, nameOrId);
    this.d.demand.look(host.id);
    return { now: this.hostNow(host), ...this.past(host.id) };
  }

  private past(id: string): Past {
    const { clock } = this.d;
    const [now, monotonic] = [clock.now(), clock.monotonic()];
    const points = this.history.points(id, monotonic);
    return {
      stepMs: this.history.stepMs,
      points: points.map((p) => ({ ...p, atMs: Math.round(now - (monotonic - p.atMs)) })),
    };
  }

  private on(e: HostsEvent): void {
    if (e.type === 'vm') return this.rows.touch(this.d.state.tables.vms.get(e.vmId)?.hostId);
    if (e.type === 'host') return this.rows.touch(e.hostId);
    if (e.type === 'statistics') this.count(e.hostId);
  }

  private count(hostId: HostId): void {
    const { hosts, state, clock } = this.d;
    const nowMs = clock.monotonic();
    this.rows.touch(hostId);
    const host = state.tables.hosts.get(hostId);
    if (host === undefined) return;
    const now = hostNow(host, hosts.status(hostId), () => 0);
    this.history.add(hostId, nowMs, hostValues(now), now.figures.overMs > 0);
    for (const vm of state.tables.vms.byHost(hostId)) {
      const s = hosts.vmStatistics(vm.id);
      if (s !== undefined) this.history.add(vm.id, nowMs, vmValues(s), s.overMs > 0);
    }
  }

  private vmNow(vm: Vm): VmNow | undefined {
    const { state, hosts, clock } = this.d;
    const statistics = hosts.vmStatistics(vm.id);
    return statistics && { view: viewVm(vm, { tables: state.tables, hosts, nowMs: clock.now() }), statistics };
  }

  private hostNow(host: Host): HostNow {
    const { hosts, state } = this.d;
    const running = () => state.tables.vms.byHost(host.id).filter((vm) => hosts.vm(vm.id)?.power === 'running').length;
    return hostNow(host, hosts.status(host.id), running);
  }

  private sharedBy<T>(key: string | undefined, make: () => T): T {
    if (key === undefined) return make();
    const nowMs = this.d.clock.monotonic();
    const before = this.shared.get(key);
    if (before !== undefined && nowMs - before.atMs < SHARE_MS) return before.answer as T;
    for (const [k, old] of this.shared) if (nowMs - old.atMs >= SHARE_MS) this.shared.delete(k);
    if (this.shared.size >= MOST_SHARED) this.shared.clear();
    const answer = make();
    this.shared.set(key, { atMs: nowMs, answer });
    return answer;
  }
}
