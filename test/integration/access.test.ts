/** Users, passwords, roles, the audit log and secrets, as operators meet them: real processes and the command line. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sqlite } from '@berth/controller/state/sqlite/library.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';

const MARKER = 'mArKeR-53cr3t';
let c: Cluster;
const said: string[] = [];

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.waitUp('h1');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  writeFileSync(join(c.dir, 'user-data'), `#cloud-config\npassword: ${MARKER}-data\n`);
  await c.ok('image', 'import', join(c.dir, 'base.img'));
});
afterAll(() => c?.stop());

/** `berth` as somebody else, with a configuration of their own. */
const as = (who: string, input: string, ...args: string[]) => {
  mkdirSync(join(c.dir, who), { recursive: true });
  return c.berthWith({ env: { BERTH_CONFIG: join(c.dir, who, 'config.yaml') }, ...(input ? { input } : {}) }, ...args);
};
async function show(...args: string[]): Promise<string> {
  const r = await c.berth(...args);
  said.push(r.out, r.err);
  return r.out;
}

describe('an operator', () => {
  it('logs in with a password, works within reach, is refused beyond it, and both are in the audit log', async () => {
    await c.ok('user', 'add', 'ann', '--role', 'operator', '--selector', 'team=a');
    const set = await c.berthWith({ input: `${MARKER}-password\n` }, 'user', 'password', 'ann');
    expect([set.code, set.err]).toEqual([0, 'password of ann set']);
    const pin = /^ca pin: +([0-9a-f]{64})$/m.exec(await c.ok('whoami'))?.[1] ?? '';
    const login = ['login', '--user', 'ann', '--controller', c.address, '--ca-pin', pin];
    expect((await as('ann', 'wrong password\n', ...login)).err).toMatch(/user or password is not right/);
    const inside = await as('ann', `${MARKER}-password\n`, ...login);
    expect([inside.code, inside.err]).toEqual([0, `logged in to ${c.address} as ann (operator), context default`]);
    expect((await as('ann', '', 'whoami')).out).toMatch(/^roles: +operator on team=a$/m);

    const clone = ['vm', 'clone', 'base', 'web', '--user-data', join(c.dir, 'user-data')];
    const refused = await as('ann', '', ...clone);
    expect([refused.code, refused.err]).toEqual([6, expect.stringMatching(/ann is not operator for such a vm/)]);
    expect((await as('ann', '', ...clone, '--label', 'team=a')).code).toBe(0);
    await c.ok('vm', 'clone', 'base', 'other', '--label', 'team=b');
    expect((await as('ann', '', 'vm', 'list', '-o', 'name')).out.trim()).toBe('web');
    expect(await as('ann', '', 'vm', 'show', 'other')).toMatchObject({ code: 3 });
    expect(await as('ann', '', 'vm', 'delete', 'other')).toMatchObject({ code: 3 });
    expect((await as('ann', '', 'event', 'list')).out).not.toMatch(/other/);
    expect((await as('ann', '', 'job', 'list')).out).not.toMatch(/other/);
    expect((await as('ann', '', 'user', 'list')).code).toBe(6);
    expect((await c.ok('vm', 'list', '-l', 'team=b', '-o', 'name')).trim()).toBe('other');

    expect(await as('ann', '', 'host', 'list')).toMatchObject({
      out: '',
      err: 'no hosts that you may see: you are operator on team=a',
    });
    expect((await c.berth('host', 'list', '-l', 'rack=7')).err).toBe('no hosts with labels rack=7');

    const rows = await c.json<{ user: string; method: string; outcome: string; object: string }[]>('audit', 'list');
    const told = rows.map((r) => `${r.user} ${r.method} ${r.outcome} ${r.object}`);
    expect(told).toEqual(
      expect.arrayContaining([
        'ann VmService.CloneVm refused web',
        'ann VmService.CloneVm done web',
        'admin VmService.CloneVm done other',
        ' UserService.Login refused ann',
        expect.stringMatching(/^ann UserService.Login done token-/) as string,
      ]),
    );
    expect(await c.ok('audit', 'verify')).toMatch(/^\d+ rows hold together, from row 1\. Head:\n\d+:[0-9a-f]{64}$/);
  });

  it('logs out, and the token is worth nothing any more', async () => {
    const config = readFileSync(join(c.dir, 'ann', 'config.yaml'), 'utf8');
    expect((await as('ann', '', 'logout')).code).toBe(0);
    expect((await as('ann', '', 'vm', 'list')).err).toMatch(/not logged in/);
    writeFileSync(join(c.dir, 'ann', 'config.yaml'), config);
    expect((await as('ann', '', 'vm', 'list')).code).toBe(6);
  });

  it('gets tokens in files that nobody else can read, and they end when they are revoked', async () => {
    const file = join(c.dir, 'ci.token');
    writeFileSync(file, 'old', { mode: 0o644 });
    await c.ok('token', 'create', 'ci', '--role', 'viewer', '--description', 'for the tests', '--token-file', file);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await as('ci', '', 'login', '--token-file', file)).code).toBe(0);
    const [token] = await c.json<{ id: string; description: string }[]>('token', 'list', '--user', 'ci');
    expect(token?.description).toBe('for the tests');
    await c.ok('token', 'revoke', token?.id ?? '');
    expect((await as('ci', '', 'vm', 'list')).code).toBe(6);
  });
});

it('no secret is in what is shown, logged, or kept for being shown', async () => {
  const login = await c.ok('token', 'create', 'svc', '--role', 'viewer');
  const { token } = JSON.parse(Buffer.from(login.split(':')[2] ?? '', 'base64url').toString()) as { token: string };
  const secrets = [MARKER, token.split('.')[1] ?? ''];
  for (const args of [
    ['vm', 'show', 'web', '-o', 'json'],
    ['vm', 'list', '-o', 'yaml'],
    ['event', 'list', '-o', 'json'],
    ['job', 'list', '-o', 'json'],
    ['audit', 'list', '-o', 'json'],
    ['audit', 'list', '-o', 'wide'],
    ['token', 'list', '-o', 'json'],
    ['user', 'show', 'ann', '-o', 'json'],
  ])
    await show(...args);
  expect(said.join('\n').length).toBeGreaterThan(1_000);
  await c.controller.end('SIGTERM');
  const db = new Sqlite(join(c.dataDir, 'berth.db'), { readonly: true });
  const kept = ['events', 'audit', 'jobs', 'job_events', 'tokens'].map((t) =>
    JSON.stringify(db.prepare(`SELECT * FROM ${t}`).all()),
  );
  db.close();
  const all = [...said, ...kept, c.controller.output, c.agents.get('h1')?.output ?? ''].join('\n');
  for (const secret of secrets) expect([secret, all.includes(secret)]).toEqual([secret, false]);
});
