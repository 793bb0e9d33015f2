/**
 * Clocks that are wrong, with real processes under libfaketime: what happens is said in words, is never taken for a dead
 * host, and mends itself when the clock is set right.
 */
import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { Daemon, eventually, PROGRAMS } from '../harness/processes.ts';
import { join } from 'node:path';

const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';
const shifted = (by: string) => ({ LD_PRELOAD: LIBRARY, FAKETIME: by, DONT_FAKE_MONOTONIC: '1' });

interface Seen {
  readonly name: string;
  readonly state: string;
  readonly stateReason: string;
}

let c: Cluster;
afterEach(() => c?.stop());

async function host(name: string, env: Readonly<Record<string, string>> = {}): Promise<Seen | undefined> {
  const r = await c.berthWith({ env }, 'host', 'list', '-o', 'json');
  if (r.code !== 0) throw new Error(r.err);
  return (JSON.parse(r.out) as Seen[]).find((h) => h.name === name);
}

const says = (name: string, words: RegExp, env = {}) =>
  eventually(`${name} says ${words.source}`, async () => {
    const seen = await host(name, env);
    if (seen?.state === 'certificate-fault' && words.test(seen.stateReason)) return true;
    throw new Error(JSON.stringify(seen));
  });

const agentOf = (name: string, env: Readonly<Record<string, string>>) =>
  new Daemon(PROGRAMS.agent, ['run', '--simulate', '--config', join(c.dir, name, 'agent.yaml')], env);

describe.skipIf(!existsSync(LIBRARY))('a clock that is wrong', () => {
  it.each([
    ['+366d', /the clock of h1 is 36[56] d ahead of the controller's/],
    ['-1d', /the clock of h1 is (1 d|23 h) behind the controller's/],
  ])(
    'of a host, by %s, is told in words, and the host is back when it is right',
    { timeout: 120_000 },
    async (by, words) => {
      c = await Cluster.start();
      await c.addSimulated('h1');
      await c.waitUp('h1');
      await c.agents.get('h1')?.end();
      const wrong = agentOf('h1', shifted(by));
      try {
        wrong.start();
        await says('h1', words);
      } finally {
        await wrong.end('SIGKILL');
      }
      c.agents.get('h1')?.start();
      await c.waitUp('h1');
    },
  );

  it('of a host that is only minutes off is told as an event, and everything works', { timeout: 120_000 }, async () => {
    c = await Cluster.start();
    await c.addSimulated('h1', undefined, shifted('-120s'));
    await c.waitUp('h1');
    await eventually('the event', async () =>
      /the clock of h1 is (2 m|1 m|119 s) behind the controller's/.test(await c.ok('event', 'list', '--subject', 'h1')),
    );
  });

  it(
    'of the controller, a year ahead, kills nothing, and is mended by setting it right',
    { timeout: 180_000 },
    async () => {
      c = await Cluster.start();
      await c.addSimulated('h1');
      await c.waitUp('h1');
      await c.controller.end();
      const ahead = c.controllerAs(shifted('+366d'));
      try {
        ahead.start();
        const there = { ...shifted('+366d'), BERTH_CONFIG: join(c.dir, 'there.yaml') };
        const login = ['login', '--token-file', join(c.dataDir, 'admin-token')];
        await eventually('a login', async () => (await c.berthWith({ env: there }, ...login)).code === 0);
        await says('h1', /has expired by the clock of the controller, which says/, there);
        // a caller whose clock is right is told so
        const r = await c.berth('host', 'list');
        expect([r.code, r.err]).toEqual([5, expect.stringMatching(/not valid by the clock of this machine/)]);
      } finally {
        await ahead.end('SIGKILL');
      }
      c.controller.start();
      // with the certificate from before
      await c.waitUp('h1');
      const made = await c.berthWith({ env: { BERTH_CONFIG: join(c.dir, 'there.yaml') } }, 'host', 'list');
      expect([made.code, made.err]).toEqual([6, expect.stringMatching(/was ahead when it was made; log in again/)]);
    },
  );
});
