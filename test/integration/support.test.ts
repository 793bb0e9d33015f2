/** A support bundle of a real cluster, one host of which is dead: what is in it, what it says is missing, and who gets it. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { PROGRAMS } from '../harness/processes.ts';
import { filesBelow } from '../harness/secrets.ts';

interface Manifest {
  readonly by: string;
  readonly hosts: { readonly name: string; readonly state: string }[];
  readonly missing: { readonly path: string; readonly why: string }[];
  readonly files: { readonly path: string; readonly bytes: number }[];
}

const USER_DATA = 's3cret-of-a-guest';
let c: Cluster;
let bundles = 0;

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.addSimulated('h2');
  await c.waitUp('h1', 'h2');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  writeFileSync(join(c.dir, 'user-data'), `#cloud-config\npassword: ${USER_DATA}\n`);
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  const userData = ['--user-data', join(c.dir, 'user-data')];
  await c.ok('vm', 'clone', 'base', 'web', '--memory', '64MiB', '--host', 'h1', ...userData, '--start');
  await c.agents.get('h2')?.end('SIGKILL');
}, 120_000);
afterAll(() => c?.stop());

/** Takes one and unpacks it. */
async function bundle(...args: string[]) {
  const file = join(c.dir, `bundle-${++bundles}.tar.gz`);
  const said = await c.berth('support', 'bundle', file, ...args);
  expect(said.code, said.err).toBe(0);
  const dir = file.replace('.tar.gz', '');
  mkdirSync(dir);
  await execa('tar', ['-xzf', file, '-C', dir]);
  const at = join(dir, 'berth-support');
  const read = (path: string) => readFileSync(join(at, path), 'utf8');
  return { file, said, at, read, manifest: JSON.parse(read('manifest.json')) as Manifest };
}

it('has logs, settings, states and checks, and says what is missing and why', async () => {
  const b = await bundle();
  expect(b.said.err).toMatch(/bundle-1\.tar\.gz written \(.*\)\. What is not in it, and why: manifest\.json in it$/);
  expect(statSync(b.file).mode & 0o777).toBe(0o600);
  expect(b.read('controller/about.json')).toMatch(/"version": "\d/);
  expect(b.read('controller/config.yaml')).toMatch(/^statisticsInterval: /m);
  expect(b.read('controller/controller.log')).toMatch(/^\d{4}-[\d-]+T[\d:.]+Z info +host state changed .*h2/m);
  expect(b.read('controller/vms.jsonl')).toContain('"name":"web"');
  expect(b.read('controller/jobs.jsonl')).toContain('vm.clone');
  expect(b.read('controller/events.jsonl')).toContain('admin takes a support bundle');
  expect(b.read('hosts/h1/agent.log')).toContain('the agent is up');
  expect(b.read('hosts/h1/agent.yaml')).toMatch(/^listen: /m);
  expect(b.read('hosts/h1/qemu/web.log')).toContain('simulated qemu of web');
  expect(b.read('hosts/h1/checks.json')).toContain('simulated');
  expect(b.read('hosts/h2/status.json')).toContain('"name": "h2"');
  const gone = b.manifest.missing.find((m) => m.path === 'hosts/h2');
  expect(gone?.why).toMatch(/host h2 is /);
  expect(b.manifest.by).toBe('admin');
  expect(b.manifest.hosts.map((h) => h.name)).toEqual(['h1', 'h2']);
  const listed = b.manifest.files.map((f) => f.path);
  expect(
    filesBelow(b.at)
      .map((f) => f.slice(b.at.length + 1))
      .sort(),
  ).toEqual([...listed, 'manifest.json'].sort());
});

it('has no user data', async () => {
  const b = await bundle();
  for (const f of filesBelow(b.at)) expect([f, readFileSync(f, 'utf8').includes(USER_DATA)]).toEqual([f, false]);
  expect(b.read('controller/vms.jsonl')).toContain('"userData":"[redacted]"');
});

it('is of one host, or of those with a label, with only so many lines', async () => {
  const b = await bundle('--host', 'h1', '--lines', '1');
  expect(readdirSync(join(b.at, 'hosts'))).toEqual(['h1']);
  expect(b.read('hosts/h1/agent.log').trim().split('\n')).toHaveLength(1);
  expect((await bundle('-l', 'zone=b')).manifest.hosts).toEqual([]);
  expect((await c.berth('support', 'bundle', join(c.dir, 'no'), '--host', 'h9')).code).toBe(3);
});

it('overwrites nothing, leaves no half of itself, and goes to a pipe', async () => {
  const { file } = await bundle();
  expect((await c.berth('support', 'bundle', file)).code).toBe(4);
  expect((await c.berth('support', 'bundle', '/nonexistent/x.tar.gz')).err).toMatch(/^berth: can't write/);
  const env = { BERTH_CONFIG: c.configFile };
  const piped = await execa(process.execPath, [PROGRAMS.berth, 'support', 'bundle', '-'], { env, encoding: 'buffer' });
  expect((await execa('tar', ['-tz'], { input: piped.stdout })).stdout).toContain('berth-support/manifest.json');
  expect(readdirSync(c.dir).filter((f) => f.endsWith('.part'))).toEqual([]);
});

it('is for administrators', async () => {
  await c.ok('user', 'add', 'ops', '--role', 'operator');
  const token = join(c.dir, 'ops.token');
  await c.ok('token', 'create', 'ops', '--token-file', token);
  const env = { BERTH_CONFIG: join(c.dir, 'ops.yaml') };
  await c.berthWith({ env }, 'login', '--token-file', token);
  const r = await c.berthWith({ env }, 'support', 'bundle', join(c.dir, 'ops.tar.gz'));
  expect([r.code, r.err]).toEqual([6, expect.stringMatching(/takes the role admin/)]);
  expect(readdirSync(c.dir).filter((f) => f.startsWith('ops.tar'))).toEqual([]);
});
