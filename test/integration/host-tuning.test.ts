/** Hosts tuned through a whole Berth: kept over a restart of the host and of the controller, counted by placement, bound to roles. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster } from '../harness/cluster.ts';
import { eventually } from '../harness/processes.ts';

interface Tuning {
  readonly settings: readonly { readonly name: string; readonly value: string; readonly wanted?: string }[];
}
interface Host {
  readonly capacity: { readonly memoryAvailableBytes: number; readonly memoryLargePagesBytes: number };
}

describe('the tuning of hosts', () => {
  let c: Cluster;
  beforeAll(async () => {
    c = await Cluster.start();
    await Promise.all(['h1', 'h2'].map((h) => c.addSimulated(h)));
    await c.waitUp('h1', 'h2');
  });
  afterAll(() => c.stop());

  const settings = async (host: string) =>
    new Map((await c.json<Tuning>('host', 'tune', host)).settings.map((s) => [s.name, s]));
  const capacity = async () => (await c.json<Host>('host', 'show', 'h1')).capacity;

  it('sets what is named on many hosts, keeps it, and says so', async () => {
    const said = await c.ok('host', 'tune', 'h1', 'h2', '--ksm', 'on', '--io-scheduler', 'sda=mq-deadline');
    expect(said).toMatch(/^host h1 tuned: ksm on, io-scheduler\/sda mq-deadline +\[ {2}OK {2}\]$/m);
    expect((await settings('h2')).get('ksm')).toMatchObject({ value: 'on', wanted: 'on' });
    expect((await settings('h2')).get('thp')).not.toHaveProperty('wanted');
    const events = await c.json<{ message: string }[]>('event', 'list', '--subject', 'h2');
    expect(events.map((e) => e.message).join('\n')).toContain('tuned host h2: ksm on, io-scheduler/sda mq-deadline');
  });

  it('counts large pages out of what VMs can have, and refuses to take what they have', async () => {
    const before = await capacity();
    await c.ok('host', 'tune', 'h1', '--hugepages', '2M=2048');
    const after = await capacity();
    expect(after.memoryLargePagesBytes).toBe(4 * 2 ** 30);
    expect(before.memoryAvailableBytes - after.memoryAvailableBytes).toBe(4 * 2 ** 30);
    const created = await c.berth('vm', 'create', 'big', '--disk', '1GiB', '--memory', '12GiB', '--host', 'h1');
    expect(created.err).toMatch(/on h1: memory 11 GiB in all \(without 4 GiB in large pages\), 12 GiB wanted/);
    await c.ok('vm', 'create', 'mid', '--disk', '1GiB', '--memory', '10GiB', '--host', 'h1');
    await c.ok('vm', 'start', 'mid');
    const refused = await c.berth('host', 'tune', 'h1', '--hugepages', '2MiB=3072');
    expect(refused.err).toMatch(/host h1 has 9\.\d GiB for VMs, but 10 GiB are promised: stop VMs there first/);
    expect((await settings('h1')).get('hugepages/2MiB')).toMatchObject({ value: '2048', wanted: '2048' });
  });

  it('sets it again when the host has lost it, also where the controller was away meanwhile', async () => {
    await c.controller.end('SIGKILL');
    await c.agents.get('h1')?.end('SIGKILL');
    c.agents.get('h1')?.start();
    c.controller.start();
    await c.waitUp('h1', 'h2');
    await eventually('h1 is as wanted again', async () => {
      const s = await settings('h1');
      return s.get('ksm')?.value === 'on' && s.get('hugepages/2MiB')?.value === '2048';
    });
    const message = await eventually('it is told', async () =>
      (await c.json<{ message: string }[]>('event', 'list', '--subject', 'h1'))
        .map((e) => e.message)
        .find((m) => m.includes('was set again')),
    );
    expect(message).toMatch(/^host h1 was set again: .*ksm on/);
  });

  it('refuses what a host has not, with nothing changed, and forgets what is to be forgotten', async () => {
    const bad = await c.berth('host', 'tune', 'h2', '--thp', 'never', '--io-scheduler', 'sdz=none');
    expect([bad.code, bad.err]).toEqual([2, expect.stringMatching(/^berth: host h2 has no setting io-scheduler\/sdz/)]);
    expect((await settings('h2')).get('thp')).toMatchObject({ value: 'madvise' });
    await c.ok('host', 'tune', 'h2', '--forget', 'ksm');
    expect((await settings('h2')).get('ksm')).toMatchObject({ value: 'on' });
    expect((await settings('h2')).get('ksm')).not.toHaveProperty('wanted');
  });

  it('is for administrators of the host; others may look', async () => {
    await c.ok('user', 'add', 'olga', '--role', 'operator');
    const file = join(c.dir, 'olga.token');
    writeFileSync(file, await c.ok('token', 'create', 'olga'));
    const as = { env: { BERTH_CONFIG: join(c.dir, 'olga.yaml') } };
    expect((await c.berthWith(as, 'login', '--token-file', file)).code).toBe(0);
    expect((await c.berthWith(as, 'host', 'tune', 'h2')).out).toContain('madvise');
    const refused = await c.berthWith(as, 'host', 'tune', 'h2', '--ksm', 'off');
    expect([refused.code, refused.err]).toEqual([6, expect.stringContaining('it takes the role admin')]);
  });
});
