/** Logical networks over real processes with simulated hosts: documents, cards that change over, watch, and an agent that is killed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { eventually } from '../harness/processes.ts';

interface Network {
  readonly onHosts: readonly { readonly host: string; readonly state: string; readonly reason: string }[];
}
interface Vm {
  readonly host: string;
  readonly spec: {
    readonly nics: readonly { readonly mac: string; readonly bridge: string; readonly network?: string }[];
  };
}

describe('logical networks', () => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start();
    for (const name of ['h1', 'h2']) await c.addSimulated(name);
    await c.waitUp('h1', 'h2');
  }, 120_000);
  afterAll(() => c?.stop());

  const states = async (name: string) =>
    (await c.json<Network>('network', 'show', name)).onHosts.map((h) => `${h.host} ${h.state}`).join(', ');
  const nics = async (vm: string) => (await c.json<Vm>('vm', 'show', vm)).spec.nics;
  const apply = (document: object, ...more: string[]) => {
    const file = join(c.dir, 'network.yaml');
    writeFileSync(file, JSON.stringify(document));
    return c.berth('apply', '-f', file, ...more);
  };

  it('are made, shown as a document, and applied again without a change', async () => {
    expect((await c.berth('network', 'list')).err).toMatch(/no networks yet/);
    const nat = [
      '--nat',
      '192.168.100.254/24',
      '--dhcp',
      '192.168.100.128-192.168.100.200',
      '--ipv6',
      '2001:db8:ca2:2::1/64',
    ];
    expect(await c.ok('network', 'create', 'vbr', ...nat, '--label', 'zone=a')).toMatch(/created, there on h1, h2/);
    const yaml = await c.ok('network', 'show', 'vbr', '-o', 'yaml');
    writeFileSync(join(c.dir, 'vbr.yaml'), yaml);
    expect(await c.ok('apply', '-f', join(c.dir, 'vbr.yaml'))).toMatch(/network vbr: as it shall be/);
    expect(await c.ok('network', 'list', '-o', 'name')).toBe('vbr');
    expect(await c.ok('network', 'list')).toMatch(
      /^vbr +nat +ready +vbr +2 of 2 +0 +192\.168\.100\.254\/24 2001:db8:ca2:2::1\/64/m,
    );
    const document = {
      kind: 'network',
      name: 'db',
      spec: { kind: 'isolated', addresses: ['10.1.0.1/24'], hosts: ['h2'] },
    };
    expect((await apply(document)).out).toMatch(/network db\s+created/);
    expect(await states('db')).toBe('h2 active');
    expect((await apply({ ...document, labels: { zone: 'b' } }, '--dry-run')).out).toMatch(/zone/);
    expect((await apply({ ...document, labels: { zone: 'b' } })).out).toMatch(/network db\s+changed/);
    expect((await apply({ ...document, spec: { ...document.spec, kind: 'nat' } })).err).toMatch(
      /kind is isolated, and stays/,
    );
  }, 120_000);

  it('take cards of VMs in and give them back, by name and by bridge', async () => {
    await c.ok('vm', 'create', 'web', '--disk', '1GiB', '--host', 'h2');
    const [{ mac } = { mac: '' }] = await nics('web');
    await c.ok('vm', 'set', 'web', '--nic', `mac=${mac},network=db`);
    expect(await nics('web')).toMatchObject([{ mac, bridge: 'db', network: 'db' }]);
    const form = await c.ok('vm', 'show', 'web', '-o', 'yaml');
    expect(form).toMatch(/network: db/);
    expect(form).not.toMatch(/bridge: db/);
    expect((await c.berth('network', 'delete', 'db')).err).toMatch(/network db is in use: vm web/);
    await c.ok('vm', 'attach', 'web', 'nic', 'network=vbr');
    expect((await nics('web')).map((n) => n.network)).toEqual(['db', 'vbr']);
    await c.ok('vm', 'set', 'web', '--nic', `mac=${mac},bridge=br0`);
    expect((await nics('web')).map((n) => [n.bridge, n.network])).toEqual([
      ['br0', undefined],
      ['vbr', 'vbr'],
    ]);
    expect(await c.ok('network', 'delete', 'db')).toMatch(/deleted/);
    expect(await c.ok('event', 'list')).toMatch(/network db deleted/);
  }, 120_000);

  it('are refused in words, and nothing of them stays', async () => {
    const refused: [string[], RegExp][] = [
      [['x'], /what kind of network\?/],
      [['x', '--isolated', '--nat', '10.0.0.1/24'], /choose one of them/],
      [['x', '--nat', '10.0.0.1'], /is no address with a prefix/],
      [['x', '--nat', '10.77.0.9/24'], /overlaps with address 10\.77\.0\.1\/24 of br0/],
      [['x', '--isolated', '--bridge', 'br0'], /has br0 already, and Berth did not make it/],
      [['vbr', '--bridge', 'br0'], /network vbr exists already/],
      [['x', '--bridge', 'vbr'], /bridge vbr is that of network vbr/],
      [['x', '--isolated', '--host', 'h9'], /host h9 does not exist/],
    ];
    for (const [args, words] of refused) expect((await c.berth('network', 'create', ...args)).err).toMatch(words);
    expect(await c.ok('network', 'list', '-o', 'name')).toBe('vbr');
    await c.quiet();
  }, 120_000);

  it('are there again when an agent was killed, also on a host that was away when they were made', async () => {
    const agent = c.agents.get('h2');
    await agent?.end('SIGKILL');
    await eventually('h2 is away', async () => (await c.hostState('h2')) === 'unreachable', 60_000);
    expect(await c.ok('network', 'create', 'late', '--isolated')).toMatch(/there on h1; not on 1/);
    agent?.start();
    await c.waitUp('h2');
    // a simulated host has lost everything with its process, as after a boot
    for (const name of ['vbr', 'late'])
      await eventually(`${name} is there`, async () => (await states(name)) === 'h1 active, h2 active', 60_000);
  }, 180_000);
});
