/** What people are told of VMs and hosts: the busiest first, from what hosts last said, and little work however many ask. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { HostId, VmId } from '@berth/shared/model/ids.ts';
import type { Host } from '@berth/shared/model/host.ts';
import type { Vm, VmPower } from '@berth/shared/model/vm.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { DomainStatistics } from '@berth/proto/agent/v1/watch.ts';
import { DomainFiguresTable, type VmStatistics } from '../hosts/figures.ts';
import type { Hosts, HostsEvent, HostStatus } from '../hosts/hosts.ts';
import { memoryState } from '../hosts/testing.ts';
import { aHost, aVm } from '../state/samples.ts';
import type { State } from '../state/state.ts';
import { Demand } from './demand.ts';
import { First, type Sortable } from './order.ts';
import { Statistics } from './statistics.ts';

const figures = (over: object): VmStatistics => {
  const table = new DomainFiguresTable();
  table.replace([DomainStatistics.fromPartial({ uuid: 'u', ...over })]);
  return table.get('u') as VmStatistics;
};

/** Only what statistics ask of hosts. */
class Reported {
  readonly power = new Map<VmId, VmPower>();
  readonly figures = new Map<VmId, VmStatistics>();
  readonly cpu = new Map<HostId, number>();
  asked = 0;
  private listener: (e: HostsEvent) => void = () => undefined;

  readonly hosts = {
    subscribe: (l: (e: HostsEvent) => void) => ((this.listener = l), () => (this.listener = () => undefined)),
    vm: (vmId: VmId) => ({ vmId, power: this.power.get(vmId) ?? 'stopped', reason: '' }),
    view: () => ({ reachable: true, complete: true }),
    guest: () => undefined,
    vmStatistics: (vmId: VmId) => (this.asked++, this.figures.get(vmId)),
    status: (hostId: HostId) => ({
      ...{ hostId, state: this.cpu.has(hostId) ? 'up' : 'unreachable', reason: '', facts: { cpuThreads: 4 } },
      statistics: { cpuUsed: this.cpu.get(hostId) ?? 0.9, memoryUsedBytes: 5, load1: 1 },
    }),
  } as unknown as Hosts & { status(id: HostId): HostStatus };

  told(hostId: HostId): void {
    this.listener({ type: 'statistics', hostId });
  }
  changed(vmId: VmId): void {
    this.listener({ type: 'vm', vmId });
  }
}

describe('statistics', () => {
  let state: State;
  let clock: SimClock;
  let reported: Reported;
  let statistics: Statistics;
  let demand: Demand;
  let host: Host;
  const everything = () => true;
  const put = async (name: string, over: object | undefined, labels: Record<string, string> = {}): Promise<Vm> => {
    const plain = aVm({ name, hostId: host.id });
    const vm = { ...plain, spec: { ...plain.spec, labels } };
    await state.update((tx) => tx.vms.put(vm));
    reported.power.set(vm.id, over === undefined ? 'stopped' : 'running');
    if (over !== undefined) reported.figures.set(vm.id, figures(over));
    return vm;
  };
  const top = (sort: string, limit = 0, keep: (vm: Vm) => boolean = everything, key?: string) =>
    statistics.topVms({ sort, limit }, undefined, keep, key).items.map((i) => i.view.vm.name);

  beforeEach(async () => {
    state = await memoryState();
    clock = new SimClock(1_700_000_000_000);
    reported = new Reported();
    demand = new Demand(clock, 10_000);
    statistics = new Statistics({ state, hosts: reported.hosts, clock, demand });
    statistics.start();
    host = aHost({ name: 'h1' });
    await state.update((tx) => tx.hosts.put(host));
    reported.cpu.set(host.id, 0.5);
  });

  it('tell the busiest VMs first, in each respect, and none that is off', async () => {
    await put('a', { cpuUsed: 1, figures: { blockReadBytes: 5, guestTotalBytes: 100, guestUsableBytes: 90 } });
    await put('b', { cpuUsed: 2, memoryUsedBytes: 50n, figures: { netTransmitBytes: 5 } });
    await put('c', { cpuUsed: 0, figures: { blockWriteBytes: 9, netReceiveBytes: 2 } });
    await put('off', undefined);
    reported.told(host.id);
    expect(top('cpu')).toEqual(['b', 'a', 'c']);
    expect(top('memory')).toEqual(['b', 'a', 'c']);
    expect(top('disk')).toEqual(['c', 'a', 'b']);
    expect(top('net')).toEqual(['b', 'c', 'a']);
    expect(top('name', 2)).toEqual(['a', 'b']);
    expect(statistics.listVms({ pageSize: 0, pageToken: '' }, undefined, everything).items).toHaveLength(3);
    expect(() => top('size')).toThrow(/known are cpu, memory/);
  });

  it('make the hosts that they are asked of tell more often, and the others not', async () => {
    const other = aHost({ name: 'h2' });
    await state.update((tx) => tx.hosts.put(other));
    const vm = await put('a', { cpuUsed: 1 });
    const wanted = () => [demand.intervalMs(host.id), demand.intervalMs(other.id)];
    const [often, both] = [
      [10_000, 30_000],
      [10_000, 10_000],
    ];
    const page = { pageSize: 0, pageToken: '' };
    const by = { sort: 'cpu', limit: 1 };
    for (const [expected, look] of [
      [often, () => statistics.vm(vm.id)],
      [often, () => statistics.host('h1')],
      [often, () => statistics.listVms(page, host.id, everything)],
      [often, () => statistics.topVms(by, host.id, everything, 'k')],
      [often, () => statistics.topVms(by, host.id, everything, 'k')],
      [both, () => statistics.listVms(page, undefined, everything)],
      [both, () => statistics.topVms(by, undefined, everything, undefined)],
      [both, () => statistics.listHosts(page, everything)],
      [both, () => statistics.topHosts(by, everything, undefined)],
    ] as const) {
      look();
      expect(wanted()).toEqual(expected);
      await clock.advance(30_000);
      expect(wanted()).toEqual([30_000, 30_000]);
    }
    expect(() => statistics.vm('nobody')).toThrow(/nobody/);
  });

  it('count all that match in the total, and tell only so many', async () => {
    for (let i = 0; i < 200; i++) await put(`vm-${i}`, { cpuUsed: i / 100 });
    reported.told(host.id);
    const { items, total } = statistics.topVms({ sort: 'cpu', limit: 3 }, host.id, everything, undefined);
    expect(items.map((i) => i.statistics.cpuUsed)).toEqual([1.99, 1.98, 1.97]);
    expect(total).toMatchObject({ count: 200, cpus: 400 });
    expect(total?.cpu).toBeCloseTo(199);
  });

  it('leave out what the asker may not see, and what was stopped or removed since the last sample', async () => {
    const a = await put('a', { cpuUsed: 1 }, { team: 'x' });
    await put('b', { cpuUsed: 2 });
    reported.told(host.id);
    expect(top('cpu', 0, (vm) => vm.spec.labels['team'] === 'x')).toEqual(['a']);
    reported.power.set(a.id, 'stopped');
    reported.changed(a.id);
    expect(top('cpu')).toEqual(['b']);
    await state.update((tx) => tx.vms.delete(a.id));
    expect(() => statistics.vm('a')).toThrow(/does not exist/);
  });

  it('are made once for all who ask the same within a second', async () => {
    await put('a', { cpuUsed: 1 });
    reported.told(host.id);
    top('cpu', 10, everything, 'all');
    const { asked } = reported;
    for (let i = 0; i < 100; i++) top('cpu', 10, everything, 'all');
    expect(reported.asked).toBe(asked);
    await clock.advance(1_100);
    top('cpu', 10, everything, 'all');
    expect(reported.asked).toBeLessThan(asked + 3);
  });

  it('keep ten minutes of each, in wall time, until the VM is removed', async () => {
    const vm = await put('a', {
      cpuUsed: 0.25,
      figures: { blockReads: 3, blockReadMs: 2, blockWrites: 1, blockWriteMs: 6 },
    });
    for (let i = 0; i < 3; i++) {
      reported.told(host.id);
      await clock.advance(10_000);
    }
    const { points, now } = statistics.vm(vm.id);
    expect(points).toHaveLength(3);
    expect(points[0]?.cpuUsed).toBeCloseTo(0.25, 3);
    expect(points[0]?.diskMs).toBeCloseTo(3, 1);
    expect(Math.abs((points[2]?.atMs ?? 0) - clock.now())).toBeLessThanOrEqual(20_000);
    expect(now?.view.state).toBe('running');
    expect(statistics.host('h1').points).toHaveLength(3);
    await put('b', undefined);
    expect(statistics.vm('b')).toMatchObject({ now: undefined, points: [] });
  });

  it('tell nothing old of a host that cannot be reached', async () => {
    await state.update((tx) => tx.hosts.put(aHost({ name: 'h2' })));
    const all = statistics.topHosts({ sort: 'cpu', limit: 0 }, everything, undefined);
    expect(all.items.map((h) => [h.host.name, h.state, h.cpuUsed])).toEqual([
      ['h1', 'up', 0.5],
      ['h2', 'unreachable', 0],
    ]);
    expect(all.total).toMatchObject({ count: 2, cpu: 2, cpus: 8 });
  });
});

it('the first of 90,000 are found without sorting all of them', () => {
  const found = new First<Sortable>('cpu', 20);
  const rest = { cpus: 1, memory: 0, memoryOf: 0, diskRead: 0, diskWrite: 0, netReceive: 0, netTransmit: 0 };
  for (let i = 0; i < 90_000; i++) found.add({ name: `vm-${i}`, cpu: (i * 7_919) % 90_001, ...rest });
  const cpus = found.take().map((r) => r.cpu);
  expect(cpus).toHaveLength(20);
  expect(cpus).toEqual([...cpus].sort((a, b) => b - a));
  expect(cpus[0]).toBeGreaterThan(89_990);
});
