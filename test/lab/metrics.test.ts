/**
 * A real Prometheus scrapes a real host: what it knows of a VM is what the guest does. And a trace of one command that ends at
 * libvirt's procedures.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster, freePort } from '../harness/cluster.ts';
import { Collector } from '../harness/collector.ts';
import { askedByAlerts, askedByPanels, chosen, hastyAlerts } from '../harness/dashboards.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually } from '../harness/processes.ts';
import { checkMetrics, Prometheus } from '../harness/prometheus.ts';

/** What is empty where all is well and nothing is done: and a lab has no card of its own, its guest no balloon. */
const DID_NOT_HAPPEN =
  /berth_(alarms|jobs|transfers)\)|berth_placement_refusals_total|kind="physical"|berth_vm_memory_guest_|\) > 0\)/;

describeLab('metrics', { hosts: ['h1'] }, (lab) => {
  let c: Cluster;
  let collector: Collector;
  let p: Prometheus;
  beforeAll(async () => {
    const address = await machineAddress(lab());
    collector = await Collector.start(address);
    const tracing = `tracing:\n  endpoint: ${collector.url}\n`;
    c = await Cluster.start(address, { config: tracing });
    await c.addLabHost(lab().host('h1'), `${tracing}metrics:\n  listen: 127.0.0.1:7446\n`);
    await c.waitUp('h1');
    const token = join(c.dir, 'berth.token');
    await c.ok('token', 'create', 'prometheus', '--role', 'metrics', '--bearer', '--token-file', token);
    const config = readFileSync(new URL('../../deploy/prometheus/prometheus.yml', import.meta.url), 'utf8')
      .replaceAll('ctl.example.org:7480', c.httpAddress)
      .replaceAll('/etc/prometheus/berth-ca.pem', join(c.dataDir, 'trust', 'ca.pem'))
      .replaceAll('/etc/prometheus/berth.token', token)
      .replaceAll(/(scrape_interval|refresh_interval|evaluation_interval): \w+/g, '$1: 2s')
      .replace('/etc/prometheus/berth-alerts.yml', hastyAlerts(c.dir));
    p = await Prometheus.start(join(c.dir, 'prometheus'), await freePort('127.0.0.1'), config);
    await c.ok('image', 'import', guestImagePath(), '--name', 'base');
    await c.ok('vm', 'clone', 'base', 'web', '--memory', '128MiB');
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url };
    expect((await c.berthWith({ env }, 'vm', 'start', 'web')).code).toBe(0);
  }, 180_000);
  afterAll(async () => {
    await p?.stop();
    await c?.stop();
    await collector?.stop();
  });

  /** Of one series; undefined: there is none yet. */
  const value = async (expr: string): Promise<number | undefined> => {
    const [found] = await p.query(expr);
    return found === undefined ? undefined : Number(found.value[1]);
  };
  const above = (least: number, expr: string) =>
    eventually(
      `${expr} > ${least}`,
      async () => {
        const n = await value(expr);
        if (n === undefined || !(n > least)) throw new Error(`it is ${n}; ${JSON.stringify(await p.targets())}`);
        return n;
      },
      90_000,
    );

  it('knows the CPU of a VM, the same as libvirt does, and its memory, disk and card', async () => {
    await c.serial('web', /^berth-facts: .* boots 1 /m);
    await above(0, 'rate(berth_vm_cpu_seconds_total{vm="web",host="h1"}[30s])');
    const seconds = await above(0.5, 'berth_vm_cpu_seconds_total{vm="web"}');
    const stats = await lab().host('h1').virsh(['domstats', '--cpu-total', 'web']);
    const ofLibvirt = Number(/cpu\.time=(\d+)/.exec(stats)?.[1]) / 1e9;
    expect(seconds).toBeLessThanOrEqual(ofLibvirt);
    expect(ofLibvirt - seconds).toBeLessThan(30);
    await above(0, 'berth_vm_memory_resident_bytes{vm="web"}');
    await above(0, 'berth_vm_disk_read_bytes_total{vm="web",disk="vda"}');
    await above(0, 'berth_vm_network_transmit_packets_total{vm="web",nic=~"vnet.+"}');
    await above(0, 'berth_vm_vcpu_delay_seconds_total{vm="web"}');
    expect(await value('berth_vm_info{vm="web"}')).toBe(1);
    expect(await value('berth_agent_libvirt_up')).toBe(1);
    expect(await value('berth_vms{state="running"}')).toBe(1);
    await above(0, 'berth_agent_libvirt_requests_total{procedure="CONNECT_GET_ALL_DOMAIN_STATS",result="ok"}');
  });

  it('answers what the dashboards and alerts ask', async () => {
    const unanswered = async (): Promise<string[]> => {
      const empty: string[] = [];
      for (const { where, expr } of askedByPanels())
        if ((await p.query(chosen(expr, '30s'))).length === 0) empty.push(`${where}: ${expr}`);
      // an alert that holds of nothing is silent, but what it is about is there
      for (const { where, expr } of askedByAlerts())
        for (const [name] of expr.matchAll(/\bberth_\w+/g))
          if ((await p.query(`count(${name})`)).length === 0) empty.push(`${where}: count(${name})`);
      return empty;
    };
    await eventually(
      'all but what did not happen',
      async () => {
        const empty = (await unanswered()).filter((asked) => !DID_NOT_HAPPEN.test(asked));
        if (empty.length > 0) throw new Error(empty.join('\n'));
        return true;
      },
      90_000,
    );
  });

  it('is what the host gives out by itself, too, where it is told to, and in good form', async () => {
    const text = await lab()
      .host('h1')
      .run([
        'node',
        '-e',
        "fetch('http://127.0.0.1:7446/metrics').then((r) => r.text()).then((t) => process.stdout.write(t))",
      ]);
    expect(text).toMatch(/^berth_vm_power\{vm="web",power="running"\} 1$/m);
    expect(await checkMetrics(`${text.trimEnd()}\n`)).toBe('');
  });

  it('tells that libvirt is away, keeps the last statistics with their age, and the alert comes', async () => {
    await lab().host('h1').killLibvirt({ hold: true });
    try {
      await eventually('it is away', async () => (await value('berth_agent_libvirt_up')) === 0, 90_000);
      await above(2, 'berth_agent_sample_age_seconds');
      expect(await value('berth_vm_cpu_seconds_total{vm="web"}')).toBeGreaterThan(0);
      await above(0, 'ALERTS{alertname="BerthLibvirtDown",alertstate="firing",host="h1"}');
    } finally {
      await lab().host('h1').releaseLibvirt();
    }
    await above(0, 'berth_agent_libvirt_up');
  });

  it('has the alert come when a pool is nearly full, and go when there is room again', async () => {
    const alert = 'ALERTS{alertname="BerthPoolFull",alertstate="firing"}';
    const fill = 'mkdir /srv/small; mount -t tmpfs -o size=16m none /srv/small; fallocate -l 15700k /srv/small/x';
    await lab().host('h1').run(['sh', '-ec', fill]);
    await c.ok('pool', 'create', 'small', '--path', '/srv/small', '--host', 'h1');
    await above(0, alert);
    expect((await p.query(alert)).map(({ metric }) => metric['pool'])).toEqual(['small']);
    await lab().host('h1').run(['rm', '/srv/small/x']);
    await eventually('it is told no more', async () => (await p.query(alert)).length === 0 || undefined, 90_000);
  });

  it('follows a command from the terminal to the procedures of libvirt', async () => {
    const wanted = [
      ...['berth vm start', 'VmService.StartVm', 'job vm.start', 'step vm.start boot'],
      ...['agent DomainService/StartDomain', 'agent StartDomain'],
    ];
    const path = await eventually('the path to the agent', async () => {
      const found = collector.path(...wanted);
      return found.length === wanted.length ? found : undefined;
    });
    const under = collector.spans.filter((s) => s.parentSpanId === path.at(-1)?.spanId).map((s) => s.name);
    expect(
      under.some((n) => n.startsWith('libvirt DOMAIN_CREATE')),
      under.join(),
    ).toBe(true);
  });
});
