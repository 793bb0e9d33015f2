/**
 * Certificates that live for 40 seconds, on real hosts: while a guest runs, its log is followed, its console is open and an
 * image travels slowly from host to host, everything is renewed several times, and nothing of it is dropped.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { AGENT_LOG } from '@berth/deploy/lab/host.ts';
import { guestImagePath } from '@berth/deploy/lab/recipe.js';
import { Cluster } from '../harness/cluster.ts';
import { noisyDisk } from '../harness/disk-files.ts';
import { describeLab } from '../harness/lab.ts';
import { machineAddress } from '../harness/lab-address.ts';
import { eventually, PROGRAMS } from '../harness/processes.ts';

/** Renewed about every 25 s. */
const SHORT = 'certificates: { hostLifetime: 40s, controllerLifetime: 40s, clientLifetime: 40s, caLifetime: 1h }\n';
const IMAGE_BYTES = 96 * 2 ** 20;
/** Slow enough for two renewals. */
const RATE = '12mbit';

interface Cert {
  readonly serial: string;
  readonly purpose: string;
  readonly subject: string;
  readonly state: string;
}

describeLab('certificates that live for 40 seconds', { hosts: ['h1', 'h2'] }, (lab) => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start(await machineAddress(lab()), { config: SHORT });
    await Promise.all(lab().hosts.map((h) => c.addLabHost(h)));
    // not later: without a command for a third of their life, certificates of command lines run out
    writeFileSync(join(c.dir, 'large.img'), noisyDisk(IMAGE_BYTES));
    await c.waitUp('h1', 'h2');
  }, 180_000);
  afterAll(() => c?.stop());

  const stream = (...args: readonly string[]) => {
    const child = execa(process.execPath, [PROGRAMS.berth, ...args], {
      reject: false,
      stdin: 'pipe',
      buffer: false,
      env: { BERTH_CONFIG: c.configFile },
    });
    let [said, open] = ['', true];
    child.stdout?.on('data', (d: Buffer) => (said += d.toString()));
    void child.finally(() => (open = false));
    return { kill: () => child.kill('SIGKILL'), said: () => said, open: () => open };
  };

  /** All that have been in service, by whose and what for. */
  const seen = new Map<string, Set<string>>();
  async function note(): Promise<void> {
    for (const x of await c.json<Cert[]>('cert', 'list'))
      if (x.state === 'active') {
        const key = `${x.subject} ${x.purpose}`;
        seen.set(key, (seen.get(key) ?? new Set()).add(x.serial));
      }
  }
  const renewals = (key: string): number => (seen.get(key)?.size ?? 0) - 1;

  it('are renewed under a guest, its open log, an event stream and a transfer', { timeout: 420_000 }, async () => {
    await c.ok('image', 'import', guestImagePath(), '--name', 'base', '--host', 'h1');
    await c.ok('vm', 'clone', 'base', 'web', '--host', 'h1', '--memory', '256MiB', '--start');
    await c.serial('web', /^berth-guest: web /m);
    await c.ok('image', 'import', join(c.dir, 'large.img'), '--host', 'h1');

    const [events, log] = [stream('event', 'watch'), stream('vm', 'log', 'web', '--follow')];
    const terminal = stream('vm', 'console', 'web');
    const h1 = lab().host('h1');
    await h1.run([
      'tc',
      'qdisc',
      'add',
      'dev',
      'eth0',
      'root',
      'tbf',
      'rate',
      RATE,
      'burst',
      '64kb',
      'latency',
      '400ms',
    ]);
    try {
      const clone = c.berth('vm', 'clone', 'large', 'copy', '--linked', '--host', 'h2', '--memory', '96MiB');
      await c.midTransfer();
      await note();
      const during = new Map([...seen].map(([key, serials]) => [key, [...serials].at(-1)]));
      let ended = false;
      void clone.finally(() => (ended = true));
      await eventually(
        'the transfer has ended',
        async () => {
          await note();
          return ended;
        },
        300_000,
      );
      const r = await clone;
      expect(r.code, r.err).toBe(0);
      for (const key of [
        'h1 control',
        'h1 transfer',
        'h2 control',
        'h2 transfer',
        'controller controller',
        'admin client',
      ]) {
        expect(renewals(key), key).toBeGreaterThanOrEqual(1);
        expect([...(seen.get(key) ?? [])].at(-1), key).not.toBe(during.get(key));
      }
      expect([events.open(), log.open(), terminal.open()]).toEqual([true, true, true]);
      await c.ok('token', 'create', 'somebody');
      await eventually('the stream still tells what happens', async () => events.said().includes('somebody'));
      expect(events.said()).not.toMatch(/host\.(unreachable|connecting|certificate|up)/);
      expect(log.said()).toMatch(/^berth-guest: web /m);
      expect((await c.ok('vm', 'log', 'web')).match(/boots \d+/g)).toEqual(['boots 1']);
      expect(await lab().host('h2').readFile(AGENT_LOG)).not.toMatch(/lost the source of an image/);
    } finally {
      events.kill();
      log.kill();
      terminal.kill();
      await h1.run(['tc', 'qdisc', 'del', 'dev', 'eth0', 'root']);
    }
  });
});
