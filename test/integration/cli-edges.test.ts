/** Answers of the command line that other programs and people count on at the edges: a taken console, a silent host, a coming start. */
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { lookWith } from '../harness/looks.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

describe('the edges of the command line', () => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start();
    await c.addSimulated('h1');
    await c.waitUp('h1');
    writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
    await c.ok('image', 'import', join(c.dir, 'base.img'));
  });
  afterAll(() => c.stop());

  it('makes no VM that is to start and would find no room to', async () => {
    const r = await c.berth('vm', 'clone', 'base', 'a', 'b', 'c', '--memory', '6GiB', '--start');
    expect(r.code).toBe(1);
    expect(r.out).toMatch(/\[FAILED\] vm \w cannot run on h1: memory|\[FAILED\] no host has room for vm \w: h1 memory/);
    const vms = await c.json<{ name: string; state: string }[]>('vm', 'list');
    expect(vms.map((v) => v.state)).toEqual(['running', 'running']);
    await c.ok('vm', 'delete', ...vms.map((v) => v.name), '--force');
  });

  it('starts what was cloned to be started, also when nobody waits', async () => {
    await c.ok('vm', 'clone', 'base', 'web', '--start', '--no-wait', '--run-policy', 'restartOnFailure');
    await eventually('web runs', async () => (await c.json<{ state: string }[]>('vm', 'list'))[0]?.state === 'running');
    expect(await c.ok('vm', 'show', 'web')).toMatch(/^run policy: +restartOnFailure$/m);
    expect(await c.berth('vm', 'create', 'x', '--disk', '1M', '--run-policy', 'sometimes')).toMatchObject({ code: 2 });
  });

  it('says the same in the process of a test, which looks again and again, as in its own', async () => {
    for (const words of ['vm list -o name', 'network list', 'vm show absent', 'job list --open', 'vm shwo', 'vm stop'])
      expect(await lookWith(c.configFile, words.split(' ')), words).toEqual(await c.berth(...words.split(' ')));
  });

  it('asks the controller itself, and no proxy of the environment', async () => {
    const env = {
      https_proxy: 'http://127.0.0.1:9',
      http_proxy: 'http://127.0.0.1:9',
      grpc_proxy: 'http://127.0.0.1:9',
    };
    expect(await c.berthWith({ env }, 'host', 'list', '-o', 'name')).toMatchObject({ code: 0, out: 'h1', err: '' });
  });

  it('tells who comes second to a console how to take it over, also with nothing to type', async () => {
    const console = [PROGRAMS.berth, 'vm', 'console', 'web'];
    const env = { BERTH_CONFIG: c.configFile };
    const first = execa(process.execPath, console, { env, stderr: 'ignore', reject: false });
    try {
      let heard = '';
      first.stdout.on('data', (d: Buffer) => (heard += d.toString()));
      await eventually('the guest answers', async () => {
        first.stdin.write('\n');
        return heard !== '';
      });
      const second = await c.berth('vm', 'console', 'web');
      expect(second.err).toMatch(
        /^berth: the console of vm web is in use .* Take it over: berth vm console web --force$/m,
      );
      expect(second.code).toBe(4);
      const taken = await c.berthWith({ input: 'hello\n' }, 'vm', 'console', 'web', '--force');
      expect(taken).toMatchObject({ code: 0, out: 'web: hello' });
    } finally {
      first.kill('SIGKILL');
    }
  });

  it('ends, with the reason, when a controller takes the connection and says nothing', async () => {
    const hole = createServer((s) => s.on('error', () => {})).listen(0, '127.0.0.1');
    await once(hole, 'listening');
    const { port } = hole.address() as AddressInfo;
    const config = join(c.dir, 'silent.yaml');
    writeFileSync(config, readFileSync(c.configFile, 'utf8').replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${port}`), {
      mode: 0o600,
    });
    try {
      const r = await execa(process.execPath, [PROGRAMS.berth, 'vm', 'list'], {
        env: { BERTH_CONFIG: config },
        reject: false,
        timeout: 60_000,
      });
      expect(r.stderr).toMatch(/^berth: the controller at 127\.0\.0\.1:\d+ can't be reached: no answer in time/);
      expect(r).toMatchObject({ exitCode: 5, timedOut: false });
    } finally {
      hole.close();
    }
  });

  it('exits 5 when the host of a VM does not answer', async () => {
    await c.agents.get('h1')?.end('SIGKILL');
    await eventually('h1 is unreachable', async () => (await c.hostState('h1')) === 'unreachable');
    for (const verb of [['stop'], ['stop', '--force'], ['start']])
      expect(await c.berth('vm', ...verb, 'web'), verb.join(' ')).toMatchObject({ code: 5 });
    expect(await c.berth('vm', 'delete', 'web')).toMatchObject({ code: 4 });
  });
});
