/** Statistics with real processes: who is busiest, who may see it, a restart, and a terminal that is put back by whatever ends top. */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { addLiar } from '../harness/liar.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

interface VmFigures {
  readonly name: string;
  readonly host: string;
  readonly state: string;
  readonly overMs: number;
  readonly cpuUsed: number;
  readonly memoryBytes: number;
  readonly memoryUsedBytes: number;
  readonly diskWriteBytes: number;
  readonly diskWriteMs: number;
  readonly netReceiveBytes: number;
}

let c: Cluster;
beforeAll(async () => {
  c = await Cluster.start('127.0.0.1', { config: 'statisticsInterval: 1s\n' });
  await c.addSimulated('h1');
  await c.addSimulated('h2');
  await c.waitUp('h1', 'h2');
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'));
  await c.ok('vm', 'clone', 'base', 'web', '--label', 'team=a', '--memory', '64MiB', '--host', 'h1', '--start');
  await c.ok('vm', 'clone', 'base', 'db', '--memory', '128MiB', '--host', 'h2', '--start');
  await c.ok('vm', 'clone', 'base', 'off', '--memory', '64MiB', '--host', 'h1');
}, 120_000);
afterAll(() => c?.stop());

const top = (...flags: string[]) => c.json<VmFigures[]>('vm', 'top', ...flags);
const withRates = (...names: string[]) =>
  eventually('rates are known', async () => {
    const all = await top();
    return names.every((n) => all.some((v) => v.name === n && v.overMs > 0)) ? all : undefined;
  });

describe('top', () => {
  it('tells what a VM that is on does, in the right size, and nothing of one that is off', async () => {
    const all = await withRates('web', 'db');
    expect(all.map((v) => v.name).sort()).toEqual(['db', 'web']);
    const web = all.find((v) => v.name === 'web');
    expect(web).toMatchObject({ host: 'h1', state: 'running', memoryBytes: 64 * 2 ** 20 });
    expect(web?.cpuUsed).toBeGreaterThan(0.01);
    expect(web?.cpuUsed).toBeLessThan(0.04);
    expect(web?.diskWriteBytes).toBeGreaterThan(100_000);
    expect(web?.diskWriteBytes).toBeLessThan(400_000);
    expect(web?.diskWriteMs).toBeCloseTo(2, 3);
    // 25 % of 95 % of it, as its balloon says, and not what its QEMU takes
    expect((web?.memoryUsedBytes ?? 0) / (64 * 2 ** 20)).toBeCloseTo(0.25, 2);
  });

  it('sorts and filters', async () => {
    expect((await top('--sort', 'memory')).map((v) => v.name)).toEqual(['db', 'web']);
    expect((await top('--host', 'h1')).map((v) => v.name)).toEqual(['web']);
    expect((await top('-l', 'team!=a')).map((v) => v.name)).toEqual(['db']);
    expect((await c.berth('vm', 'top', '--sort', 'size')).code).toBe(2);
    expect((await c.berth('vm', 'top', '--interval', '1ms')).err).toMatch(/shortest is 500ms/);
    expect((await c.berth('vm', 'top', '--host', 'h9')).code).toBe(3);
    expect(await c.ok('vm', 'top')).toMatch(/^NAME +HOST +STATE +CPU +MEMORY +READ +WRITE +OPS +LATENCY +IN +OUT\n/);
  });

  it('tells the same of hosts, with their network cards and pools', async () => {
    const hosts = await c.json<{ name: string; runningVms: number; netTransmitBytes: number; pools: object[] }[]>(
      'host',
      'top',
    );
    const h1 = hosts.find((h) => h.name === 'h1');
    expect(h1).toMatchObject({ runningVms: 1, pools: [{ name: 'default' }] });
    expect(h1?.netTransmitBytes).toBeGreaterThan(1_000_000);
    expect(await c.ok('host', 'stats', 'h1')).toMatch(/^NIC +KIND[^]*^eth0 +physical[^]*^default /m);
  });

  it('keeps a history, of a VM that is moved between on and off, too', async () => {
    const stats = () => c.json<{ points: { atMs: number; cpuUsed: number }[]; now?: object }>('vm', 'stats', 'web');
    await eventually('there is a point', async () => (await stats()).points.length > 0);
    const { points } = await stats();
    expect(Math.abs((points.at(-1)?.atMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(await c.ok('vm', 'stats', 'web')).toMatch(/^vm web, running on h1\nMEASURE +NOW +MEAN +MOST +LAST /);
    expect(await c.ok('vm', 'stats', 'off')).toBe('vm off, off\nnothing is known of the last ten minutes yet');
  });

  it('shows a caller what it may see, and does not say that there is more', async () => {
    await c.ok('user', 'add', 'ann', '--role', 'viewer', '--selector', 'team=a');
    const line = join(c.dir, 'ann-token');
    await c.ok('token', 'create', 'ann', '--token-file', line);
    const env = { BERTH_CONFIG: join(c.dir, 'ann.yaml') };
    const ann = (...args: string[]) => c.berthWith({ env }, ...args);
    expect(await ann('login', '--token-file', line)).toMatchObject({ code: 0 });
    const seen = JSON.parse((await ann('vm', 'top', '-o', 'json')).out) as VmFigures[];
    expect(seen.map((v) => v.name)).toEqual(['web']);
    expect((await ann('vm', 'stats', 'db')).code).toBe(3);
    expect((await ann('host', 'stats', 'h1')).code).toBe(3);
  });

  it('goes on after the controller was killed, without a rate that is absurd', async () => {
    await c.controller.end('SIGKILL');
    c.controller.start();
    await c.waitUp('h1', 'h2');
    for (const v of await withRates('web', 'db')) {
      expect(v.cpuUsed).toBeLessThan(0.1);
      expect(v.diskWriteBytes).toBeLessThan(400_000);
      expect(v.netReceiveBytes).toBeLessThan(100_000);
    }
  });
});

describe('who looks', () => {
  it('makes hosts tell more often, as long as it looks', async () => {
    const { liar } = await addLiar(c, 'h3', (a) => (a.capabilities = ['statistics.interval']));
    try {
      const told = (...intervals: number[]) =>
        eventually(`h3 was told ${intervals.join()}`, async () => liar.intervals.join() === intervals.join());
      await c.waitUp('h3');
      await told(3_000);
      await eventually('h3 is told', async () => {
        await c.ok('host', 'stats', 'h3');
        return liar.intervals.join() === '3000,1000';
      });
      // and what an agent makes of it
      await eventually('web is read every second', async () => {
        const { now } = await c.json<{ now?: VmFigures }>('vm', 'stats', 'web');
        return now !== undefined && now.overMs > 0 && now.overMs < 2_000;
      });
      await told(3_000, 1_000, 3_000);
    } finally {
      liar.stop();
    }
  });
});

describe('top on a terminal', () => {
  /** A pseudo-terminal of 100 by 20, and what was written to it. */
  function onTerminal(name: string, ...args: string[]) {
    const pidFile = join(c.dir, `${name}.pid`);
    const shell = `stty cols 100 rows 20; echo $$ > ${pidFile}; exec ${process.execPath} ${PROGRAMS.berth} ${args.join(' ')}`;
    const child = spawn('script', ['-qec', shell, '/dev/null'], {
      env: { ...process.env, BERTH_CONFIG: c.configFile, SHELL: '/bin/sh' },
    });
    let out = '';
    child.stdout.on('data', (d: Buffer) => (out += d.toString()));
    const ended = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    return {
      child,
      ended,
      out: () => out,
      kill: (s: NodeJS.Signals) => process.kill(Number(readFileSync(pidFile)), s),
    };
  }
  const RESTORED = /\x1b\[\?25h\x1b\[\?1049l[^]*$/;

  it.each([
    ['q', async (t: ReturnType<typeof onTerminal>) => void t.child.stdin.write('q')],
    ['ctrl-c', async (t: ReturnType<typeof onTerminal>) => void t.child.stdin.write('\x03')],
    ['sigint', async (t: ReturnType<typeof onTerminal>) => t.kill('SIGINT')],
    ['sigterm', async (t: ReturnType<typeof onTerminal>) => t.kill('SIGTERM')],
    ['sighup', async (t: ReturnType<typeof onTerminal>) => t.kill('SIGHUP')],
  ])('is put back after %s', async (name, end) => {
    const t = onTerminal(name, 'vm', 'top', '--interval', '500ms');
    await eventually('the table is there', async () => /web +h1/.test(t.out()));
    expect(t.out()).toMatch(/\x1b\[\?1049h/);
    expect(t.out()).toMatch(/VMs by cpu {2}[\d:]+ {2}2 on, CPU/);
    await end(t);
    await t.ended;
    expect(t.out()).toMatch(RESTORED);
    expect(t.out().split('\x1b[?1049l')).toHaveLength(2);
  });
});
