/** What a scrape of a host says: only what the table has, bounded, and still something when libvirt is away. */
import { describe, expect, it, vi } from 'vitest';
import { Exposition } from '@berth/shared/metrics/exposition.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import type { DomainSeen, DomainStats } from '../drivers/hypervisor.ts';
import { createSimDrivers } from '../drivers/sim/sim-drivers.ts';
import { createSampler } from '../watch/sampler.ts';
import { AgentMetrics } from './agent-metrics.ts';
import { writePools } from './host-metrics.ts';
import { AGENT_FAMILIES } from './families.ts';
import { createMeters } from './meters.ts';
import { MOST_VM_SERIES, writeVms } from './vm-metrics.ts';

const XML = `<domain type='qemu'><name>web</name><memory unit='KiB'>65536</memory><vcpu>2</vcpu></domain>`;
const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';

async function world() {
  const clock = new SimClock();
  const sim = createSimDrivers({ name: 'h1', runDir: '/tmp', clock });
  sim.sim.define({ uuid: UUID, name: 'we"b\n', xml: XML });
  sim.sim.start(UUID);
  let away: 'no' | 'gone' | 'silent' = 'no';
  const silence = new Promise<never>(() => undefined);
  let askedForVcpus = false;
  const stats = async (ms: number, vcpus?: boolean) => {
    askedForVcpus = vcpus === true;
    if (away === 'silent') return silence;
    if (away === 'gone') throw new Error('libvirt is away');
    return sim.hypervisor.stats(ms);
  };
  const list = async () => {
    if (away === 'silent') return silence;
    if (away === 'gone') throw new Error('libvirt is away');
    return sim.hypervisor.list();
  };
  const drivers = { ...sim, hypervisor: { ...sim.hypervisor, stats, list } };
  const meters = createMeters();
  const sampler = createSampler(drivers, clock, {
    onReading: (r) => metrics.noteReading(r),
    wantsVcpus: () => metrics.wanted,
  });
  const metrics = new AgentMetrics({
    ...{ drivers, clock, meters, hostId: 'host-1', hostName: 'h1', read: () => sampler.read() },
    ...{ pools: () => [], operations: () => [], watchers: () => 1 },
  });
  return {
    clock,
    metrics,
    meters,
    sample: () => sampler.sample(),
    asked: () => askedForVcpus,
    cut: (how: 'gone' | 'silent') => (away = how),
  };
}

/** Each sample as [name, names of its labels, value]. */
const parse = (text: string): [string, string[], number][] =>
  text
    .split('\n')
    .filter((l) => l !== '' && !l.startsWith('#'))
    .map((l) => {
      const [, name = '', of = '', value] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(l) ?? [];
      return [name, [...of.matchAll(/(?:^|,)([a-z_]+)="/g)].map((m) => m[1] ?? ''), Number(value)];
    });

it('tell how full pools are, but for those of devices, whose room is always taken', () => {
  const to = { add: vi.fn() };
  const pool = {
    poolId: '',
    uuid: '',
    state: 'active',
    reason: '',
    targetPath: '',
    generation: 1,
    imageDigests: [],
  } as const;
  const room = { capacityBytes: 10, allocationBytes: 10, availableBytes: 0, volumesAllocatedBytes: 0 };
  writePools(to as never, [
    { ...pool, ...room, name: 'san', type: 'iscsi' },
    { ...pool, ...room, name: 'fast', type: 'dir' },
  ]);
  expect(to.add.mock.calls.map(([name, value, of]) => [name, value, JSON.stringify(of)])).toEqual([
    ['berth_pool_up', 1, expect.stringContaining('san')],
    ['berth_pool_up', 1, expect.stringContaining('fast')],
    ['berth_pool_size_bytes', 10, expect.stringContaining('fast')],
    ['berth_pool_free_bytes', 0, expect.stringContaining('fast')],
  ]);
});

describe('metrics of a host', () => {
  it('have the names and labels of their table, and no others', async () => {
    const { metrics, meters } = await world();
    meters.libvirt.told('CONNECT_GET_ALL_DOMAIN_STATS', 12);
    meters.requests.told('StartDomain', 200, new Error('x'));
    const text = await metrics.text();
    for (const [sample, found] of parse(text)) {
      const name = sample in AGENT_FAMILIES ? sample : sample.replace(/_(bucket|sum|count)$/, '');
      const family = AGENT_FAMILIES[name as keyof typeof AGENT_FAMILIES];
      expect(
        found.filter((l) => l !== 'le'),
        sample,
      ).toEqual(family.labels);
    }
    expect(text).toContain('berth_vm_power{vm="we\\"b\\n",power="running"} 1\n');
    expect(text).toContain('berth_agent_requests_total{method="StartDomain",result="INTERNAL"} 1\n');
    expect(text).toContain(
      'berth_agent_libvirt_request_duration_seconds_bucket{procedure="CONNECT_GET_ALL_DOMAIN_STATS",le="0.025"} 1',
    );
  });

  it.each(['gone', 'silent'] as const)(
    'keep the last statistics when libvirt is %s, and say how old they are',
    async (how) => {
      const { metrics, clock, cut } = await world();
      const of = (text: string, name: string) => parse(text).find(([n]) => n === name)?.[2];
      const before = await metrics.text();
      expect([of(before, 'berth_agent_libvirt_up'), of(before, 'berth_agent_sample_age_seconds')]).toEqual([1, 0]);
      cut(how);
      await clock.advance(60_000);
      const scrape = metrics.text();
      await clock.advance(5_000);
      const after = await scrape;
      const ageS = of(after, 'berth_agent_sample_age_seconds');
      expect(ageS).toBeGreaterThanOrEqual(60);
      expect(ageS).toBeLessThanOrEqual(65);
      expect(of(after, 'berth_agent_libvirt_up')).toBe(0);
      expect(of(after, 'berth_vm_cpu_seconds_total')).toBe(of(before, 'berth_vm_cpu_seconds_total'));
      expect(after).toContain(',power="unknown"} 1');
      expect(of(after, 'berth_host_memory_size_bytes')).toBeGreaterThan(0);
    },
  );

  it('ask each QEMU what only scrapes want to know for as long as somebody scrapes', async () => {
    const { metrics, sample, clock, asked } = await world();
    await sample();
    expect(asked()).toBe(false);
    await clock.advance(2_000);
    await metrics.text();
    expect(asked()).toBe(true);
    await clock.advance(130_000);
    await sample();
    expect(asked()).toBe(false);
  });

  it('leave VMs out whole when there are too many of them, those that are off first, and say how many', () => {
    const seen = (i: number, power: DomainSeen['power']): DomainSeen => ({
      ...{ uuid: `u${i}`, name: `vm-${i}`, power, reason: 'none', persistent: true, metadataXml: undefined },
      ...{ memoryBytes: 1, vcpus: 1 },
    });
    const disks = Array.from({ length: 500 }, (_, i) => ({
      ...{ target: `vd${i}`, readBytes: 0, writeBytes: 0, reads: 0, writes: 0, flushes: 0 },
      ...{ readNs: 0, writeNs: 0, flushNs: 0, capacityBytes: 1, allocationBytes: 1 },
    }));
    const more = { atMs: 0, balloonBytes: 0, guestTotalBytes: 0, guestUsableBytes: 0, disks };
    const stats = { uuid: '', cpuTimeNs: 1n, memoryUsedBytes: 1, more } as unknown as DomainStats;
    const vms = Array.from({ length: 10_000 }, (_, i) => {
      const isOn = i >= 9_000;
      return { seen: seen(i, isOn ? 'running' : 'stopped'), vmId: '', stats: isOn ? stats : undefined };
    });
    const to = new Exposition(AGENT_FAMILIES);
    const omitted = writeVms(to, vms);
    expect(to.size).toBeLessThanOrEqual(MOST_VM_SERIES);
    expect(to.size).toBeGreaterThan(MOST_VM_SERIES * 0.9);
    expect(omitted).toBeGreaterThan(9_000);
    expect(to.text()).not.toContain('vd32"');
    expect(to.text().length).toBeLessThan(2 << 20);
  });
});
