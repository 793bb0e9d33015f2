/**
 * Every secret that Berth hands out or keeps, looked for in everything that it says or leaves about: answers of every reading
 * command and every GET path, logs at trace level, the database, command lines of processes, backups, modes of files.
 */
import { appendFileSync, cpSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commandsFor, NOUNS } from '@berth/controller/cli/commands.ts';
import { OUTPUT } from '@berth/controller/cli/core/command.ts';
import { Sqlite } from '@berth/controller/state/sqlite/library.ts';
import { HTTP_ROUTES } from '@berth/proto/http.ts';
import { decodeJoinLine, decodeLoginLine } from '@berth/shared/trust/lines.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { Lane, type Target } from '../harness/lane.ts';
import { lookWith } from '../harness/looks.ts';
import { eventually, PROGRAMS, run } from '../harness/processes.ts';
import { filesBelow, privateKeysIn, Secrets, watchCommandLines } from '../harness/secrets.ts';

const MARKER = 'mArKeR-53cr3t';
const PASSPHRASE = `${MARKER}-passphrase`;
const RENEWED_SOON = 'logLevel: trace\ncertificates: { hostLifetime: 30s, controllerLifetime: 30s, caLifetime: 1h }\n';
const secrets = new Secrets();
let c: Cluster;
let lane: Lane;
let commandLines: { end(): Promise<string> };

beforeAll(async () => {
  commandLines = watchCommandLines();
  c = await Cluster.start('127.0.0.1', { config: RENEWED_SOON });
  const invite = async (name: string, address: string): Promise<string> => {
    const line = await c.joinToken(name, address);
    secrets.add(`join token of ${name}`, line, decodeJoinLine(line).secret);
    return line;
  };
  for (const name of ['h1', 'h2']) {
    await c.addSimulated(name, invite);
    await c.agents.get(name)?.end();
    appendFileSync(join(c.dir, name, 'agent.yaml'), 'logLevel: trace\n');
    c.agents.get(name)?.start();
  }
  await c.waitUp('h1', 'h2');
  lane = new Lane(target());
  await keysOnDisk();
}, 120_000);
afterAll(async () => {
  lane?.close();
  await commandLines?.end();
  await c?.stop();
});

function target(): Target {
  const line = readFileSync(join(c.dataDir, 'admin-token'), 'utf8').trim();
  const { token } = decodeLoginLine(line);
  secrets.add('admin token', line, token.split('.')[1] ?? '');
  const [host = '', port] = c.httpAddress.split(':');
  return { host, port: Number(port), ca: readFileSync(join(c.dataDir, 'trust/ca.pem'), 'utf8'), token };
}

const annsConfig = (): string => join(c.dir, 'ann.yaml');
const daemonDirs = (): string[] => [c.dataDir, ...['h1', 'h2'].map((h) => join(c.dir, h))];

/** Those of both CAs, of the controller, of each host: whatever lies there now, also while it is being renewed. */
async function keysOnDisk(): Promise<void> {
  for (const file of daemonDirs().flatMap(filesBelow))
    for (const key of privateKeysIn(readFileSync(file, 'utf8'))) secrets.add(`a key of ${file}`, key);
}

async function post(path: string, body: object, status = 200): Promise<Record<string, unknown>> {
  const r = await lane.ask('POST', path, Buffer.from(JSON.stringify(body)));
  expect([path, r.status, r.status === status ? '' : r.body]).toEqual([path, status, '']);
  return JSON.parse(r.body) as Record<string, unknown>;
}

/** All that has to do with secrets, once done well and once done badly: failures are told and logged in other ways. */
it('secrets are made, used and refused in every way there is', { timeout: 180_000 }, async () => {
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  writeFileSync(join(c.dir, 'user-data'), `#cloud-config\npackages: [qemu-guest-agent]\npassword: ${MARKER}-data\n`);
  secrets.add('password, user data, passphrase', MARKER);
  await c.ok('user', 'add', 'ann', '--role', 'operator');
  const set = await c.berthWith({ input: `${MARKER}-password\n` }, 'user', 'password', 'ann');
  expect(set.code, set.err).toBe(0);
  const pin = /^ca pin: +([0-9a-f]{64})$/m.exec(await c.ok('whoami'))?.[1] ?? '';
  const login = (password: string) =>
    c.berthWith(
      { input: `${password}\n`, env: { BERTH_CONFIG: annsConfig() } },
      ...['login', '--user', 'ann', '--controller', c.address, '--ca-pin', pin],
    );
  for (const [password, code] of [
    [`${MARKER}-wrong`, 6],
    [`${MARKER}-password`, 0],
  ] as const) {
    const r = await login(password);
    expect([r.code, r.err]).toEqual([code, r.err]);
    secrets.said('login by password', r.out + r.err);
  }
  const keys = [annsConfig(), c.configFile].flatMap((file) => privateKeysIn(readFileSync(file, 'utf8')));
  expect(keys.length).toBeGreaterThan(3);
  secrets.add('key of a command line', ...keys);
  await post('/v1/users/nobody:setPassword', { password: `${MARKER}-nobody` }, 404);
  await post('/v1/users/ann:setPassword', { password: `${MARKER}-${'x'.repeat(5_000)}` }, 400);
  const created = await c.ok('token', 'create', 'ci', '--role', 'viewer');
  secrets.add('created token', created, decodeLoginLine(created).token.split('.')[1] ?? '');

  const imported = await post('/v1/images:import', { name: 'base', fileBytes: String(4 * 2 ** 20) });
  const ticket = String(imported['uploadTicket']);
  expect(ticket.length).toBeGreaterThan(20);
  secrets.add('upload ticket', ticket);
  const { ca, token: admins } = target();
  writeFileSync(join(c.dir, 'ca.pem'), ca);
  writeFileSync(
    join(c.dir, 'curl'),
    `cacert = "${c.dir}/ca.pem"\nheader = "Authorization: Bearer ${admins}"\nheader = "Berth-Ticket: ${ticket}"\nsilent\n`,
  );
  const image = (imported['image'] as { id: string }).id;
  const upload = () =>
    execa('curl', ['-K', 'curl', '-T', 'base.img', `https://${c.httpAddress}/v1/images/${image}:upload`], {
      cwd: c.dir,
    });
  expect((await upload()).stdout).toContain('receivedBytes');
  expect((await upload()).stdout).toContain('error'); // used up
  await c.quiet();

  // fetches carry tickets from host to host; one host has the image, the other gets it
  for (const host of ['h1', 'h2'])
    await c.ok(
      'vm',
      'clone',
      'base',
      `web-${host}`,
      '--host',
      host,
      '--user-data',
      join(c.dir, 'user-data'),
      '--start',
    );
  await post(
    '/v1/vms:clone',
    { image: 'base', name: '../x', vcpus: 1, memoryBytes: '1', userData: `${MARKER}-bad` },
    400,
  );
  await post(
    '/v1/vms:clone',
    { image: 'base', name: 'web-h1', vcpus: 1, memoryBytes: '67108864', userData: `${MARKER}-taken` },
    409,
  );
  // of a guest, through its agent, and of a screen
  await eventually(
    'the guest agent answers',
    async () => (await c.berth('vm', 'guest-info', 'web-h1')).code === 0,
    30_000,
  );
  await c.berthWith({ input: `${MARKER}-root\n` }, 'vm', 'set-password', 'web-h1');
  writeFileSync(join(c.dir, 'vnc'), `${MARKER.slice(0, 8)}\n`);
  const screen = ['--graphics', 'vnc,listen=127.0.0.1', '--graphics-password-file', join(c.dir, 'vnc')];
  await c.ok('vm', 'create', 'screen', '--disk', '1MiB', '--memory', '32MiB', ...screen, '--start');
  secrets.add('password of a screen', MARKER.slice(0, 8));
  // of the server of a storage pool
  const cephKey = Buffer.from(`${MARKER}-ceph`).toString('base64'); // as Ceph prints its keys
  writeFileSync(join(c.dir, 'ceph'), `${cephKey}\n`);
  const source = ['--type', 'rbd', '--source-host', 'mon1', '--source-name', 'vms', '--auth-user', 'berth'];
  await c.ok('pool', 'create', 'ceph', '--all-hosts', ...source, '--auth-secret-file', join(c.dir, 'ceph'));
  await c.berth('pool', 'create', 'ceph', '--all-hosts', ...source, '--auth-secret-file', join(c.dir, 'ceph'));
  secrets.add('secret of a pool', cephKey);
  await c.ok('volume', 'create', 'data', '--size', '1MiB');
  await c.ok('network', 'create', 'lan', '--bridge', 'br0');
  await c.ok('vm', 'snapshot', 'create', 'web-h1', 'before');
  const console_ = await c.berthWith({ input: 'hello\u001d' }, 'vm', 'console', 'web-h1');
  expect(console_.code, console_.err).toBe(0);

  for (const h of ['h1', 'h2']) {
    const line = await c.ok('host', 're-enroll', h);
    secrets.add(`second join token of ${h}`, line, decodeJoinLine(line).secret);
    const config = join(c.dir, h, 'agent.yaml');
    const bad = await run(PROGRAMS.agent, ['enroll', '--config', config], { input: line.replace(/.$/, '') });
    expect(bad.code).not.toBe(0);
    secrets.said('enroll, refused', bad.out + bad.err);
    const good = await run(PROGRAMS.agent, ['enroll', '--config', config], { input: line });
    expect(good.code, good.err).toBe(0);
    secrets.said('enroll', good.out + good.err);
  }
  await c.waitUp('h1', 'h2');
  await eventually(
    'certificates were renewed',
    async () => {
      await keysOnDisk();
      const all = await c.json<{ subject: string; purpose: string }[]>('cert', 'list', '--all');
      return all.filter((x) => x.subject === 'h1' && x.purpose === 'control').length >= 3;
    },
    90_000,
  );
  await c.ok('cert', 'rotate-ca', '--overlap', '1s');
  await eventually(
    'and the CAs replaced',
    async () => {
      await keysOnDisk();
      return (await c.json('job', 'list', '--open')).length === 0;
    },
    60_000,
  );
});

it('no reading command shows one, in any format', { timeout: 240_000 }, async () => {
  const job = (await c.json<{ id: string; kind: string }[]>('job', 'list', '--limit', '100')).find(
    (j) => j.kind === 'vm.clone',
  );
  const names: Record<string, string> = {
    vm: 'web-h1',
    host: 'h1',
    image: 'base',
    pool: 'ceph',
    volume: 'data',
    network: 'lan',
    snapshot: 'before',
    job: job?.id ?? '',
    user: 'ann',
    context: 'default',
  };
  const reading = (await commandsFor(Object.keys(NOUNS))).filter((k) => k.flags.some((f) => f.spec === OUTPUT.spec));
  expect(reading.length).toBeGreaterThan(15);
  for (const command of reading) {
    const words = [command.noun, command.group, command.verb].filter((w) => w !== undefined);
    if (command.verb === 'watch') continue;
    const args = command.args.flatMap((a) => (a.required ? [names[a.kind ?? ''] ?? ''] : []));
    for (const format of ['json', 'yaml', 'wide']) {
      const r = await lookWith(c.configFile, [...words, ...args, '-o', format]);
      expect([words, r.code, r.err]).toEqual([words, 0, r.err]);
      secrets.said(`berth ${words.join(' ')} -o ${format}`, r.out + r.err);
    }
  }
  for (const noun of Object.keys(NOUNS)) secrets.said(`help of ${noun}`, (await c.berth(noun, '--help')).out);
});

it('no path of the JSON API answers one', async () => {
  const [token] = await c.json<{ id: string }[]>('token', 'list');
  const [job] = await c.json<{ id: string }[]>('job', 'list');
  const names: Record<string, string> = {
    vm: 'web-h1',
    host: 'h1',
    image: 'base',
    pool: 'ceph',
    volume: 'data',
    network: 'lan',
    snapshot: 'before',
    job: job?.id ?? '',
    user: 'ann',
    token: token?.id ?? '',
  };
  // its connection has been idle for longer than one may be
  lane.close();
  lane = new Lane(target());
  const gets = HTTP_ROUTES.filter((r) => r.verb === 'GET' && r.kind === 'json');
  expect(gets.length).toBeGreaterThan(15);
  for (const { path } of gets) {
    const r = await lane.ask(
      'GET',
      path.replace(/\{(\w+)\}/g, (_, n: string) => names[n] ?? n),
    );
    expect([path, r.status]).toEqual([path, 200]);
    secrets.said(`GET ${path}`, r.body);
  }
  for (const path of ['/openapi.json', '/healthz', '/readyz', '/metrics', '/', '/v1/nothing'])
    secrets.said(`GET ${path}`, (await lane.ask('GET', path)).body);
});

it('a support bundle holds none, though it has all logs at their most talkative', async () => {
  const file = join(c.dir, 'support.tar.gz');
  const made = await c.berth('support', 'bundle', file);
  expect(made.code, made.err).toBe(0);
  secrets.said('words of support bundle', made.out + made.err);
  const to = join(c.dir, 'support');
  mkdirSync(to);
  await execa('tar', ['-xzf', file, '-C', to]);
  const files = filesBelow(to);
  expect(files.length).toBeGreaterThan(15);
  for (const f of files) secrets.said(f.slice(c.dir.length), readFileSync(f, 'utf8'));
  expect(readFileSync(join(to, 'berth-support/hosts/h1/agent.log'), 'utf8')).toMatch(/ debug /);
});

it('nothing but the owner can enter what the daemons and commands leave on disk', async () => {
  const open = [...daemonDirs().flatMap(filesBelow), c.configFile, annsConfig()]
    .map((f) => [f.slice(c.dir.length), statSync(f).mode & 0o077] as const)
    .filter(([f, mode]) => mode !== 0 && !/(^|\/)(ca\.pem|agent\.yaml)$/.test(f));
  expect(open).toEqual([]);
  expect(statSync(c.dataDir).mode & 0o777).toBe(0o700);
  for (const h of ['h1', 'h2']) expect(statSync(join(c.dir, h, 'identity')).mode & 0o777).toBe(0o700);
});

it('a backup under a passphrase tells none, and none is in the words of those who make and read it', async () => {
  const passphrase = join(c.dir, 'passphrase');
  writeFileSync(passphrase, `${PASSPHRASE}\n`, { mode: 0o600 });
  const file = join(c.dir, 'sealed.backup');
  const flags = ['--passphrase-file', passphrase];
  const made = await run(PROGRAMS.controller, ['backup', '--data-dir', c.dataDir, '--to', file, ...flags]);
  expect(made.code, made.err).toBe(0);
  const verified = await run(PROGRAMS.controller, ['backup', 'verify', file, ...flags]);
  const without = await run(PROGRAMS.controller, ['backup', 'verify', file]);
  expect([verified.code, without.code]).toEqual([0, 1]);
  const to = join(c.dir, 'restored');
  const restored = await run(PROGRAMS.controller, ['restore', file, '--data-dir', to, ...flags]);
  expect(restored.code, restored.err).toBe(0);
  const open = filesBelow(to).filter((f) => (statSync(f).mode & 0o077) !== 0 && !f.endsWith('ca.pem'));
  expect([open, statSync(to).mode & 0o777, statSync(file).mode & 0o777]).toEqual([[], 0o700, 0o600]);
  secrets.said('the sealed backup', readFileSync(file, 'latin1'));
  for (const r of [made, verified, without, restored]) secrets.said('words of backup and restore', r.out + r.err);
});

it('and the logs, the history, and the command lines of all processes hold none', async () => {
  await keysOnDisk();
  secrets.said('command lines', await commandLines.end());
  await c.controller.end('SIGTERM');
  for (const [name, agent] of c.agents) {
    await agent.end('SIGTERM');
    expect(agent.output).toMatch(/"level":20/);
    secrets.said(`log of ${name}`, agent.output);
  }
  expect(c.controller.output.length).toBeGreaterThan(1_000);
  secrets.said('log of the controller', c.controller.output);
  cpSync(join(c.dataDir, 'berth.db'), join(c.dir, 'copy.db'));
  const db = new Sqlite(join(c.dir, 'copy.db'));
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").pluck().all() as string[];
  for (const t of tables)
    // a VM's row is where its user data is kept, a pool's where the secret of its server is
    if (t !== 'vms' && t !== 'pools')
      secrets.said(`table ${t}`, JSON.stringify(db.prepare(`SELECT * FROM ${t}`).all()));
  expect(tables).toEqual(expect.arrayContaining(['events', 'audit', 'jobs', 'job_events', 'tokens', 'users']));
  db.close();
  expect(secrets.kinds()).toBeGreaterThan(20);
  expect(secrets.found()).toEqual([]);
});
