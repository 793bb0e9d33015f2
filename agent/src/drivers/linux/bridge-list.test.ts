/** When the list of bridges starts `ip`, and when it knows without. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { createBridges } from './bridges.ts';
import type { Exec } from './exec.ts';
import { linkPrint } from './link-print.ts';

let root: string;
const put = (path: string, text: string): void => {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
};
const bridge = (name: string): void => {
  mkdirSync(join(root, 'sys/class/net', name, 'brif'), { recursive: true });
  put(`sys/class/net/${name}/ifindex`, '7\n');
  put(`sys/class/net/${name}/flags`, '0x1003\n');
  put(`sys/class/net/${name}/ifalias`, '');
};
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'berth-links-'));
  mkdirSync(join(root, 'sys/class/net/eth0'), { recursive: true });
  bridge('br0');
  put('proc/net/route', 'br0 0009010A\n');
  put('proc/net/if_inet6', '');
});
afterEach(() => rmSync(root, { recursive: true }));

function world() {
  const clock = new SimClock();
  const runs: string[] = [];
  let broken = false;
  const run: Exec['run'] = async (_, args) => {
    runs.push(args.join(' '));
    if (broken) throw new Error('no ip');
    const link = { ifname: 'br0', flags: ['UP'], linkinfo: { info_kind: 'bridge' }, addr_info: [], ifalias: 'berth' };
    return { stdout: JSON.stringify([link]), stderr: '', exitCode: 0 };
  };
  const bridges = createBridges({ exec: { run }, unchanged: { clock, print: () => linkPrint(root) } });
  /** How many looks it took. */
  const looks = async (): Promise<number> => {
    runs.length = 0;
    expect(await bridges.list()).toMatchObject([{ name: 'br0', up: true, owned: true }]);
    return runs.length / 2;
  };
  return { clock, bridges, looks, runs, breakIp: (to: boolean) => (broken = to) };
}

it('is looked at once while nothing changes, by all who ask, and again after a while', async () => {
  const { clock, bridges, looks, runs } = world();
  await Promise.all([bridges.list(), bridges.list()]);
  expect(runs).toHaveLength(2);
  await clock.advance(15_000);
  expect(await looks()).toBe(0);
  await clock.advance(300_000);
  expect(await looks()).toBe(0);
  await clock.advance(300_000);
  expect(await looks()).toBe(1);
});

it.each([
  ['a bridge more', () => bridge('br1')],
  ['an interface more', () => mkdirSync(join(root, 'sys/class/net/vnet0'))],
  ['one in its place', () => put('sys/class/net/br0/ifindex', '8\n')],
  ['one that is down', () => put('sys/class/net/br0/flags', '0x1002\n')],
  ['one that is marked', () => put('sys/class/net/br0/ifalias', 'berth\n')],
  ['a port', () => put('sys/class/net/br0/brif/vnet0/state', '3')],
  ['an address', () => put('proc/net/route', '')],
  ['an address that has no route', () => put('proc/net/fib_trie', '|-- 10.1.0.9\n /32 host LOCAL\n')],
  ['an IPv6 address', () => put('proc/net/if_inet6', 'fd00 03 40 00 80 br0\n')],
])('is looked at anew after %s', async (_, change) => {
  const { looks } = world();
  await looks();
  change();
  expect(await looks()).toBe(1);
  expect(await looks()).toBe(0);
});

it('costs no look into what guests are plugged into', async () => {
  mkdirSync(join(root, 'sys/class/net/vnet7'));
  const { looks } = world();
  await looks();
  // nobody calls a bridge so
  bridge('vnet7');
  expect(await looks()).toBe(0);
});

it('is looked at anew after a change of our own, and after a look that failed', async () => {
  const { bridges, looks, breakIp } = world();
  await looks();
  await bridges.ensure('br0', []);
  expect(await looks()).toBe(1);
  breakIp(true);
  put('proc/net/route', '');
  await expect(bridges.list()).rejects.toThrow('no ip');
  breakIp(false);
  expect(await looks()).toBe(1);
});
