/** Logs of hosts over real processes: who may read them, what is refused, following, and an agent that goes away meanwhile. */
import { execa } from 'execa';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  await c.addSimulated('h2');
  await c.waitUp('h1', 'h2');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', 'web', '--memory', '64MiB', '--host', 'h1', '--start');
}, 120_000);
afterAll(() => c?.stop());

it('shows what the agent wrote, with times, and only as much as is wanted', async () => {
  expect(await c.ok('host', 'log', 'h1')).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d {2}info +the agent is up /m);
  expect((await c.ok('host', 'log', 'h1', '--tail', '1')).split('\n')).toHaveLength(1);
  expect(await c.ok('host', 'log', 'h1', '--since', '1h')).toContain('the agent is up');
  const [line] = (await c.ok('host', 'log', 'h1', '-o', 'json')).split('\n');
  expect(JSON.parse(line ?? '')).toMatchObject({ text: expect.stringContaining('info') as string });
});

it('shows the QEMU log of a VM that lives there, and says where one lives that does not', async () => {
  expect(await c.ok('host', 'log', 'h1', '--vm', 'web')).toMatch(/simulated qemu of web: running$/);
  const elsewhere = await c.berth('host', 'log', 'h2', '--vm', 'web');
  expect([elsewhere.code, elsewhere.err]).toEqual([4, 'berth: vm web lives on h1, not on h2']);
  expect((await c.berth('host', 'log', 'h1', '--source', 'qemu')).err).toMatch(/which VM\?/);
  expect((await c.berth('host', 'log', 'h1', '--vm', 'web', '--source', 'kernel')).code).toBe(2);
  expect((await c.berth('host', 'log', 'h1', '--vm', '../../etc/passwd')).code).toBe(3);
  expect((await c.berth('host', 'log', 'h1', '--source', 'secrets')).code).toBe(2);
  expect((await c.berth('host', 'log', 'h9')).code).toBe(3);
});

it('is for operators of the host: viewers are refused, others are told of no such host', async () => {
  const as = async (name: string, ...role: string[]) => {
    await c.ok('user', 'add', name, ...role);
    const file = join(c.dir, `${name}.token`);
    await c.ok('token', 'create', name, '--token-file', file);
    const env = { BERTH_CONFIG: join(c.dir, `${name}.yaml`) };
    await c.berthWith({ env }, 'login', '--token-file', file);
    return (await c.berthWith({ env }, 'host', 'log', 'h1')).code;
  };
  expect(await as('vic', '--role', 'viewer')).toBe(6);
  expect(await as('tim', '--role', 'operator', '--selector', 'team=a')).toBe(3);
  expect(await as('ops', '--role', 'operator')).toBe(0);
});

it('goes on until Ctrl-C, or until the host goes away, which it says', async () => {
  const follow = () =>
    execa(process.execPath, [PROGRAMS.berth, 'host', 'log', 'h1', '-f'], {
      env: { BERTH_CONFIG: c.configFile },
      reject: false,
      buffer: true,
    });
  const one = follow();
  let heard = '';
  one.stdout.on('data', (d: Buffer) => (heard += d.toString()));
  await eventually('it is there', async () => heard.includes('the agent is up'));
  one.kill('SIGINT');
  expect((await one).exitCode).toBe(130);
  const two = follow();
  let got = '';
  two.stdout.on('data', (d: Buffer) => (got += d.toString()));
  await eventually('it is there', async () => got.includes('the agent is up'));
  await c.agents.get('h1')?.end('SIGTERM');
  const ended = await two;
  expect([ended.exitCode, ended.stderr]).toEqual([5, expect.stringMatching(/^berth: .*h1/)]);
  expect((await c.berth('host', 'log', 'h1')).code).toBe(5);
});
