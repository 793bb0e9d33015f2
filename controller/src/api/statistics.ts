/** StatisticsService: how busy VMs and hosts are. */
import {
  type HostStatistics,
  type StatisticsPoint,
  type StatisticsServiceService,
  type StatisticsTotal,
  type VmStatistics,
} from '@berth/proto/v1/statistics.ts';
import { parseSelector } from '@berth/shared/labels/selector.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Vm } from '@berth/shared/model/vm.ts';
import { resolve } from '../app/names.ts';
import type { Tables } from '../state/state.ts';
import type { HostNow } from '../statistics/now.ts';
import { memoryUsedOf } from '../statistics/rows.ts';
import type { Past, Statistics, Total, VmNow } from '../statistics/statistics.ts';
import type { Call, Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Scope } from './scope.ts';

export const statisticsHandlers = (
  statistics: Statistics,
  tables: Tables,
  scope: Scope,
): Handlers<StatisticsServiceService> => ({
  listVmStatistics: (r, call) => {
    const fits = parseSelector(r.selector);
    const only = r.host === '' ? undefined : resolve('host', tables.hosts, r.host).id;
    const keep = (vm: Vm) => fits(vm.spec.labels) && scope.seesVm(call, vm);
    const found =
      r.sort === ''
        ? statistics.listVms(toQuery(r.page), only, keep)
        : statistics.topVms(r, only, keep, keyOf(r.selector, call));
    return { vms: found.items.map(toVm), nextPageToken: found.nextPageToken, total: toTotal(found.total) };
  },
  listHostStatistics: (r, call) => {
    const fits = parseSelector(r.selector);
    const keep = (h: Host) => fits(h.labels) && scope.seesHost(call, h);
    const found =
      r.sort === ''
        ? statistics.listHosts(toQuery(r.page), keep)
        : statistics.topHosts(r, keep, keyOf(r.selector, call));
    return { hosts: found.items.map(toHost), nextPageToken: found.nextPageToken, total: toTotal(found.total) };
  },
  getVmStatistics: (r) => {
    const { vm, now, ...past } = statistics.vm(r.vm);
    return { name: vm.name, now: now && toVm(now), ...toPast(past) };
  },
  getHostStatistics: (r) => {
    const { now, ...past } = statistics.host(r.host);
    return { now: toHost(now), ...toPast(past) };
  },
});

/** Callers who see everything share answers; what others see is their own. */
const keyOf = (selector: string, call: Call): string | undefined =>
  call.access.everywhere('viewer') ? `=${selector}` : undefined;

const toPast = ({ stepMs, points }: Past) => ({ stepMs, points: points.map(toPoint) });
const toPoint = (p: Past['points'][number]): StatisticsPoint => ({ ...p, atMs: toWire(p.atMs) });

const toTotal = (t: Total | undefined): StatisticsTotal | undefined =>
  t && {
    ...{ count: t.count, cpuUsed: t.cpu, memoryUsedBytes: t.memory },
    ...{ cpus: t.cpus, memoryBytes: t.memoryOf },
    ...{ diskReadBytes: t.diskRead, diskWriteBytes: t.diskWrite },
    ...{ netReceiveBytes: t.netReceive, netTransmitBytes: t.netTransmit },
  };

function toVm({ view: { vm, hostName, state }, statistics: s }: VmNow): VmStatistics {
  const { memoryUsedBytes: residentBytes, ...rest } = s;
  return {
    ...rest,
    ...{ id: vm.id, name: vm.name, host: hostName, state, residentBytes },
    vcpus: vm.spec.vcpus,
    memoryBytes: vm.spec.memoryBytes,
    memoryUsedBytes: memoryUsedOf(s),
  };
}

function toHost(n: HostNow): HostStatistics {
  const f = n.figures;
  return {
    ...{ id: n.host.id, name: n.host.name, state: n.state, overMs: f.overMs },
    ...{ cpuThreads: n.cpuThreads, cpuUsed: n.cpuUsed, cpuIowait: f.cpuIowait, cpuSteal: f.cpuSteal },
    ...{ load1: n.load1, load5: f.load5, load15: f.load15 },
    ...{ memoryBytes: n.memoryBytes, memoryUsedBytes: n.memoryUsedBytes },
    ...{ swapBytes: f.swapBytes, swapUsedBytes: f.swapUsedBytes },
    ...{ diskReadBytes: f.diskReadBytes, diskWriteBytes: f.diskWriteBytes },
    ...{ diskReads: f.diskReads, diskWrites: f.diskWrites },
    ...{ netReceiveBytes: n.netReceiveBytes, netTransmitBytes: n.netTransmitBytes, netErrors: n.netErrors },
    runningVms: n.runningVms,
    nics: f.nics.map((x) => ({ ...x })),
    pools: f.pools.map((x) => ({ ...x })),
  };
}
