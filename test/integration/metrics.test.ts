/** Metrics of a real cluster: what a scrape says, who may scrape, and which hosts there are to scrape. */
import { readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster, freePort } from '../harness/cluster.ts';
import { hastyAlerts } from '../harness/dashboards.ts';
import { eventually } from '../harness/processes.ts';
import { checkMetrics, describeWithPrometheus, Prometheus } from '../harness/prometheus.ts';
import { rawDisk } from '../harness/disk-files.ts';

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly text: string;
}
interface Target {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

let c: Cluster;
let token = '';
let caFile = '';
let tokenFile = '';

beforeAll(async () => {
  c = await Cluster.start();
  caFile = join(c.dataDir, 'trust', 'ca.pem');
  tokenFile = join(c.dir, 'prometheus.token');
  await Promise.all([c.addSimulated('h1'), c.addSimulated('h2')]);
  await c.waitUp('h1', 'h2');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', 'web', '--memory', '64MiB', '--host', 'h1', '--start');
  await c.ok('token', 'create', 'prometheus', '--role', 'metrics', '--bearer', '--token-file', tokenFile);
  token = readFileSync(tokenFile, 'utf8').trim();
}, 120_000);
afterAll(() => c?.stop());

function ask(path: string, shown = token): Promise<Reply> {
  const [host, port] = c.httpAddress.split(':');
  const headers = shown === '' ? {} : { authorization: `Bearer ${shown}` };
  return new Promise((resolve, reject) => {
    const req = request({ host, port, path, headers, ca: readFileSync(caFile) }, (res) => {
      let text = '';
      res.on('data', (d: Buffer) => (text += d.toString()));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, type: res.headers['content-type'] ?? '', text }));
      res.on('error', reject);
    });
    req.on('error', reject).end();
  });
}

const targets = async (query = ''): Promise<readonly Target[]> =>
  JSON.parse((await ask(`/metrics/targets${query}`)).text) as Target[];

it('tells of hosts, VMs, jobs, calls, placements and commits', async () => {
  const { status, type, text } = await ask('/metrics');
  expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
  for (const line of [
    /^berth_hosts\{state="up"\} 2$/m,
    /^berth_vms\{state="running"\} 1$/m,
    /^berth_host_up\{host="h1"\} 1$/m,
    /^berth_host_vms\{host="h1"\} 1$/m,
    /^berth_host_memory_claimed_bytes\{host="h1"\} [1-9]\d{7,}$/m,
    /^berth_host_certificate_expiry_timestamp_seconds\{host="h1"\} \d{10}/m,
    /^berth_jobs_ended_total\{kind="vm.clone",result="succeeded"\} 1$/m,
    /^berth_job_duration_seconds_count\{kind="vm.clone"\} 1$/m,
    /^berth_placements_total\{result="placed"\} \d+$/m,
    /^berth_database_commit_duration_seconds_count \d\d+$/m,
    /^berth_controller_requests_total\{method="VmService\/CloneVm",result="ok"\} 1$/m,
    /^berth_controller_agent_requests_total\{method="DomainService\/StartDomain",result="ok"\} 1$/m,
    /^berth_controller_event_loop_lag_seconds_count \d+$/m,
    /^process_resident_memory_bytes \d{7,}$/m,
  ])
    expect(text).toMatch(line);
});

it('relays what a host tells of its VMs, read anew for each scrape', async () => {
  const cpu = async () =>
    Number(/^berth_vm_cpu_seconds_total\{vm="web"\} ([\d.]+)$/m.exec((await ask('/metrics/hosts/h1')).text)?.[1]);
  const { text, type } = await ask('/metrics/hosts/h1');
  expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(text).toMatch(/^berth_vm_info\{vm="web",vm_id="vm-[^"]+",uuid="[0-9a-f-]{36}"\} 1$/m);
  expect(text).toMatch(/^berth_vm_disk_read_bytes_total\{vm="web",disk="vda"\} \d+$/m);
  expect(text).toMatch(/^berth_vm_network_receive_bytes_total\{vm="web",nic="vnet0"\} \d+$/m);
  expect(text).toMatch(/^berth_agent_info\{.*host="h1"/m);
  expect(text).toMatch(/^berth_agent_requests_total\{method="StartDomain",result="ok"\} 1$/m);
  expect(text).toMatch(/^berth_agent_watched 1$/m);
  const before = await cpu();
  await eventually('it has used more', async () => (await cpu()) > before || undefined);
});

it('lets in who has the role, and nobody else; that role opens nothing else', async () => {
  expect((await ask('/metrics', '')).status).toBe(401);
  expect((await ask('/v1/vms')).status).toBe(403);
  expect((await ask('/v1/hosts/h1')).status).toBe(403);
  expect((await ask('/metrics/hosts/h9')).status).toBe(404);
  await c.ok('host', 'label', 'h2', 'team=a');
  const some = join(c.dir, 'some.token');
  await c.ok('user', 'add', 'team-a', '--service', '--role', 'metrics', '--selector', 'team=a');
  await c.ok('token', 'create', 'team-a', '--role', 'metrics', '--bearer', '--token-file', some);
  const bound = readFileSync(some, 'utf8').trim();
  const seen = JSON.parse((await ask('/metrics/targets', bound)).text) as Target[];
  expect(seen.map((t) => t.labels['host'])).toEqual(['h2']);
  expect((await ask('/metrics/hosts/h2', bound)).status).toBe(200);
  expect((await ask('/metrics/hosts/h1', bound)).status).toBe(404);
  expect((await ask('/metrics', bound)).status).toBe(403);
});

it('names every host as a target, also one that was added a moment ago, and none that was never enrolled', async () => {
  await c.joinToken('h3', '127.0.0.1:1');
  const all = await targets();
  expect(all.map((t) => t.labels['host']).sort()).toEqual(['h1', 'h2']);
  expect(all.find((t) => t.labels['host'] === 'h1')).toMatchObject({
    targets: [c.httpAddress],
    labels: {
      __scheme__: 'https',
      __metrics_path__: expect.stringMatching(/^\/metrics\/hosts\/host-/),
      instance: 'h1',
    },
  });
  expect((await targets('?selector=team%3Da')).map((t) => t.labels['__meta_berth_label_team'])).toEqual(['a']);
  await c.ok('host', 'remove', 'h3', '--yes').catch(() => c.ok('host', 'remove', 'h3'));
});

it('forgets what is gone: 200 VMs, a pool and a host leave no series', async () => {
  const series = async () => {
    const texts = await Promise.all(['/metrics', '/metrics/hosts/h1', '/metrics/hosts/h2'].map((path) => ask(path)));
    return texts.flatMap(({ text }) => text.split('\n').filter((line) => /^\w+\{/.test(line)));
  };
  const gone = async () => (await series()).filter((line) => /="(crowd\d+|heap|h9)"/.test(line));
  // the words of ours that label counters are few; and a series that is there is there, whatever its value
  const others = async () =>
    (await series())
      .filter((line) => !/\b(method|kind|procedure|result|le|state)="/.test(line))
      .map((line) => line.replace(/ \S+$/, ''));
  const before = await others();
  await c.addSimulated('h9');
  await c.waitUp('h9');
  await c.ok('pool', 'create', 'heap', '--path', '/srv/heap', '--host', 'h2');
  const vms = ['h1', 'h2'].map((host, i) =>
    c.ok('vm', 'clone', 'base', `crowd{${i}01..${i + 1}00}`, '--host', host, '--label', 'of=crowd'),
  );
  await Promise.all(vms);
  await eventually(
    'all are shown',
    async () => new Set((await gone()).map((l) => /crowd\d+/.exec(l)?.[0])).size === 201 || undefined,
  );
  await c.ok('vm', 'delete', '--selector', 'of=crowd');
  await c.ok('pool', 'remove', 'heap');
  await c.agents.get('h9')?.end('SIGKILL');
  await c.ok('host', 'remove', 'h9', '--force');
  await eventually('nothing is left of them', async () => (await gone()).length === 0 || undefined);
  await eventually('all else is as it was', async () => {
    expect(await others()).toEqual(before);
    return true;
  });
}, 240_000);

describeWithPrometheus('Prometheus', () => {
  it('has nothing to say against the names and the form of either', async () => {
    expect(await checkMetrics((await ask('/metrics')).text)).toBe('');
    expect(await checkMetrics((await ask('/metrics/hosts/h1')).text)).toBe('');
  });

  it('scrapes controller and hosts with the configuration that we ship, and a new host without a change to it', async () => {
    const shipped = readFileSync(new URL('../../deploy/prometheus/prometheus.yml', import.meta.url), 'utf8');
    const config = shipped
      .replaceAll('ctl.example.org:7480', c.httpAddress)
      .replaceAll('/etc/prometheus/berth-ca.pem', caFile)
      .replaceAll('/etc/prometheus/berth.token', tokenFile)
      .replaceAll(/(scrape_interval|refresh_interval|evaluation_interval): \w+/g, '$1: 1s')
      .replace('/etc/prometheus/berth-alerts.yml', hastyAlerts(c.dir));
    const p = await Prometheus.start(join(c.dir, 'prometheus'), await freePort('127.0.0.1'), config);
    try {
      const hosts = async () => (await p.query('up{job="berth-hosts"} == 1')).map((r) => r.metric['host']).sort();
      await eventually('both hosts are scraped', async () => (await hosts()).join() === 'h1,h2' || undefined);
      await eventually('the CPU of the VM is known', async () => {
        const [web] = await p.query('rate(berth_vm_cpu_seconds_total{vm="web"}[30s])');
        return (web?.metric['host'] === 'h1' && Number(web.value[1]) > 0.001) || undefined;
      });
      expect((await p.query('berth_hosts{state="up"}'))[0]?.value[1]).toBe('2');
      const port = await freePort('127.0.0.1');
      const direct = `metrics: { listen: "0.0.0.0:${port}", tokenFile: ${tokenFile} }\n`;
      await c.addSimulated('h5', undefined, {}, direct);
      await eventually('one is asked directly, with the certificate of Berth', async () => {
        const [found] = (await p.targets()).filter((t) => t.scrapeUrl === `https://127.0.0.1:${port}/metrics`);
        return found?.health === 'up' || undefined;
      });
      await eventually('it is a host like the others', async () => (await hosts()).join() === 'h1,h2,h5' || undefined);
      await c.ok('host', 'drain', 'h5');
      await c.ok('host', 'remove', 'h5');
      await c.addSimulated('h4');
      await eventually('the new one is scraped', async () => (await hosts()).join() === 'h1,h2,h4' || undefined);
      await c.agents.get('h4')?.end('SIGKILL');
      await eventually(
        'one that died is down',
        async () => (await p.query('up{host="h4"} == 0')).length === 1 || undefined,
      );
      await eventually('and told of, alone', async () => {
        const told = await p.query('ALERTS{alertstate="firing",alertname=~"BerthHost(Down|NotScraped)"}');
        const words = told.map(({ metric }) => `${metric['alertname']} ${metric['host']}`).sort();
        return words.join() === 'BerthHostDown h4,BerthHostNotScraped h4' || undefined;
      });
    } catch (e) {
      throw new Error(`${p.said()}\n${JSON.stringify(await p.targets())}`, { cause: e });
    } finally {
      await p.stop();
    }
  });
});
