/** Bridges with the real `ip`, in a network namespace of the test's own. */
import { stat } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBridges } from './bridges.ts';
import { createExec } from './exec.ts';

const exec = createExec({ unprivilegedUser: 'nobody' });
const netns = `berth-test-${process.pid}`;
const able = await exec.run('ip', ['netns', 'add', netns]).then(
  () => true,
  () => false,
);
if (!able && process.env['LAB_REQUIRED'] === '1') throw new Error('network namespaces cannot be made here');
const ip = (...args: string[]) => exec.run('ip', ['-n', netns, ...args]);
afterAll(() => able && exec.run('ip', ['netns', 'del', netns]));

describe.skipIf(!able)('bridges of a host (needs root and network namespaces)', () => {
  const bridges = createBridges({ exec, netns });

  beforeAll(async () => {
    // every command below names this namespace; it must be another than the machine's, whose bridges are no test's to touch
    const [ours, machines] = await Promise.all([stat(`/run/netns/${netns}`), stat('/proc/self/ns/net')]);
    if (ours.ino === machines.ino) throw new Error(`${netns} is the machine's own network namespace`);
    expect((await bridges.list()).map((b) => b.name)).toEqual([]);
    await ip('link', 'add', 'foreign0', 'type', 'bridge');
    await ip('link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
  });

  it('are made, changed, listed and removed, and twice is once', async () => {
    await bridges.ensure('br0', ['10.9.0.1/24', 'fd00:9::1/64']);
    await bridges.ensure('br0', ['10.9.0.1/24', 'FD00:9::1/64']);
    const mine = async () => (await bridges.list()).find((b) => b.name === 'br0');
    const expected = { name: 'br0', up: true, owned: true, ports: [] };
    expect(await mine()).toEqual({ ...expected, addresses: ['10.9.0.1/24', 'fd00:9::1/64'] });
    await bridges.ensure('br0', ['10.9.0.2/24']);
    expect(await mine()).toEqual({ ...expected, addresses: ['10.9.0.2/24'] });
    await bridges.ensure('br0', ['10.9.0.2/24', '10.9.0.3/24']);
    await bridges.ensure('br0', ['10.9.0.3/24']);
    expect(await mine()).toEqual({ ...expected, addresses: ['10.9.0.3/24'] });
    await ip('link', 'set', 'v0', 'master', 'br0');
    expect(await mine()).toMatchObject({ ports: ['v0'] });
    await expect(bridges.remove('br0')).rejects.toMatchObject({ reason: 'IN_USE' });
    await ip('link', 'set', 'v0', 'nomaster');
    await bridges.remove('br0');
    await bridges.remove('br0');
    expect(await mine()).toBeUndefined();
  });

  it('of others are listed and left alone', async () => {
    expect(await bridges.list()).toContainEqual({
      name: 'foreign0',
      up: false,
      owned: false,
      ports: [],
      addresses: [],
    });
    await expect(bridges.ensure('foreign0', ['10.8.0.1/24'])).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(bridges.remove('foreign0')).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(bridges.ensure('v1', [])).rejects.toMatchObject({ reason: 'BAD_STATE' });
  });

  it('are finished when an earlier attempt was broken off, and hidden until then', async () => {
    await Promise.all([bridges.ensure('br1', []), bridges.ensure('br1', ['10.7.0.1/24'])]);
    await ip('link', 'set', 'br1', 'down');
    await ip('link', 'set', 'br1', 'name', '.berth-x');
    expect((await bridges.list()).map((b) => b.name)).toEqual(['foreign0']);
    await ip('link', 'del', '.berth-x');
  });
});
