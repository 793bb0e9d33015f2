/** The installation in numbers: bounded by hosts, whatever the number of VMs, and never holding the event loop up. */
import { expect, it } from 'vitest';
import { Exposition } from '@berth/shared/metrics/exposition.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Host, HostState } from '@berth/shared/model/host.ts';
import type { Tables } from '../state/state.ts';
import { CONTROLLER_FAMILIES } from './families.ts';
import { MOST_HOSTS, writeInventory, type Known } from './inventory-metrics.ts';
import { targetsOf } from './targets.ts';

const host = (i: number, labels: Record<string, string> = {}): Host =>
  ({ id: `host-${i}`, name: `h${i}`, labels, maintenance: false }) as unknown as Host;

function installation(hosts: number, vms: number, naps: { n: number }, state: HostState = 'up'): Known {
  const sums = { all: { guests: 1 }, powered: { vcpus: 2, memoryBytes: 3 }, poweredLarge: new Map(), diskBytes: 4 };
  const many = <T>(n: number, make: (i: number) => T) => ({
    values: () => Array.from({ length: n }, (_, i) => make(i)),
  });
  const tables = {
    hosts: many(hosts, (i) => host(i)),
    vms: many(vms, (i) => ({ id: `vm-${i}`, phase: i % 2 === 0 ? 'creating' : 'deleting' })),
    alarms: many(3, (i) => ({ kind: 'vm-missing', severity: i === 0 ? 'warning' : 'critical' })),
    images: { size: 7 },
    claims: { sums: () => sums },
    certificates: { byHost: () => [{ purpose: 'control', state: 'active', notAfterMs: 5_000 }] },
    jobs: { holders: () => [] },
  } as unknown as Tables;
  const status = () => ({ state, lastSeenMs: 1_000 });
  const clock = { ...systemClock, sleep: (ms: number) => (naps.n++, systemClock.sleep(ms)) };
  return { tables, clock, hosts: { status, vm: () => undefined, view: () => ({}) } as never };
}

it('counts all VMs and hosts by their state, and shows a bounded number of hosts one by one', async () => {
  const naps = { n: 0 };
  const to = new Exposition(CONTROLLER_FAMILIES);
  await writeInventory(to, installation(MOST_HOSTS + 1_000, 20_000, naps));
  const text = to.text();
  expect(text).toContain(`berth_hosts{state="up"} ${MOST_HOSTS + 1_000}\n`);
  expect(text).toContain('berth_vms{state="creating"} 10000\nberth_vms{state="deleting"} 10000\n');
  expect(text).toContain('berth_alarms{kind="vm-missing",severity="critical"} 2\n');
  expect(text.match(/^berth_host_up\{/gm)).toHaveLength(MOST_HOSTS);
  expect(to.size).toBe(MOST_HOSTS * 8 + 6);
  expect(naps.n).toBe(10); // others got their turn
});

it('calls a host that has yet to enrol neither up nor down', async () => {
  const to = new Exposition(CONTROLLER_FAMILIES);
  await writeInventory(to, installation(1, 0, { n: 0 }, 'enrolling'));
  expect(to.text()).toContain('berth_hosts{state="enrolling"} 1\n');
  expect(to.text()).not.toContain('berth_host_up');
});

it('sends Prometheus through the controller, or to a host that gives out its metrics itself, and to none that can not', () => {
  const facts = (capabilities: string[], metricsAddress = '') => ({ capabilities, metricsAddress });
  const targets = targetsOf(
    [
      { host: host(1, { zone: 'b', 'odd/key.x': 'v' }), state: 'up', facts: facts(['metrics']) },
      { host: host(2), state: 'unreachable', facts: facts(['metrics'], '10.0.0.2:7446') },
      { host: host(3), state: 'up', facts: facts([]) },
      { host: host(4), state: 'enrolling', facts: undefined },
      { host: host(5), state: 'connecting', facts: undefined },
    ],
    'ctl:7480',
  );
  expect(targets.map((t) => [t.labels['host'], t.targets[0], t.labels['__metrics_path__']])).toEqual([
    ['h1', 'ctl:7480', '/metrics/hosts/host-1'],
    ['h2', '10.0.0.2:7446', '/metrics'],
    ['h5', 'ctl:7480', '/metrics/hosts/host-5'],
  ]);
  expect(targets[0]?.labels).toMatchObject({ __meta_berth_label_zone: 'b', __meta_berth_label_odd_key_x: 'v' });
});
