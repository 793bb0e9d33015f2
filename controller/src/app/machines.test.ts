import { beforeEach, describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostFacts } from '@berth/shared/model/host.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { MachineClient } from '../hosts/machine-client.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import { Machines, skewOf } from './machines.ts';

const aCheck = { name: 'kvm', ok: true, detail: 'there', fatal: false };
let state: State;
let asked: (readonly string[])[];
let capabilities: string[];
let unreachable: boolean;
let tellsTuning: boolean;
let settings: { name: string; value: string }[];

const machine: Partial<MachineClient> = {
  check: async (names) => (asked.push(names), { checks: [aCheck], clockMs: systemClock.now() }),
  tuning: async () => {
    if (!tellsTuning) throw new ClusterError('UNSUPPORTED', 'no such call');
    return { settings: settings.map((s) => ({ ...s, choices: [], recommended: '', note: '' })) };
  },
  inventory: async () => ({
    cpu: { model: '', sockets: 1, cores: 1, threads: 1 },
    ...{ numa: [], nics: [], disks: [], pci: [], usb: [] },
  }),
};
const machines = (): Machines => {
  const facts = () => ({ capabilities, agentVersion: '0.1.0' }) as unknown as HostFacts;
  const agent = () => {
    if (unreachable) throw new ClusterError('HOST_UNREACHABLE', 'host h1 is not connected');
    return { machine };
  };
  const hosts = { status: () => ({ facts: facts() }), agent } as never;
  return new Machines({ state, hosts, clock: systemClock });
};

beforeEach(async () => {
  state = await memoryState();
  asked = [];
  capabilities = ['host.check'];
  unreachable = false;
  tellsTuning = true;
  const addresses = ['h1.example:7444', 'h2.example:7444', '10.0.0.3:7444', '[fd00::4]:7444', 'h5.example:7444'];
  await state.update((tx) =>
    addresses.forEach((address, i) => tx.hosts.put(enrolledHost({ id: newHostId(), name: `h${i + 1}`, address }))),
  );
});

describe('a checkup of a host', () => {
  it('asks for the names of the others, not for addresses nor for its own', async () => {
    const { checks, host } = await machines().check('h1', () => true);
    expect(host.name).toBe('h1');
    expect(asked).toEqual([['h2.example', 'h5.example']]);
    expect(checks.map((c) => [c.name, c.ok])).toEqual([
      ['kvm', true],
      ['clock-skew', true],
    ]);
  });

  it('names no host that the caller may not see', async () => {
    await machines().check('h1', (other) => other.name === 'h5');
    expect(asked).toEqual([['h5.example']]);
  });

  it('says whether its kernel is set as it shall be, where somebody wants it so', async () => {
    await state.update((tx) => {
      const h1 = tx.hosts.byName('h1');
      if (h1) tx.hosts.put({ ...h1, tuning: { ksm: 'on', swappiness: '10' } });
    });
    const tuning = async () => (await machines().check('h1', () => true)).checks.find((c) => c.name === 'tuning');
    settings = [
      { name: 'ksm', value: 'off' },
      { name: 'swappiness', value: '10' },
    ];
    expect(await tuning()).toMatchObject({
      ok: false,
      fatal: false,
      detail: expect.stringContaining('ksm (on); see berth host tune h1') as string,
    });
    settings[0] = { name: 'ksm', value: 'on' };
    expect(await tuning()).toMatchObject({ ok: true });
    tellsTuning = false;
    expect(await tuning()).toMatchObject({ ok: false, detail: 'its agent does not tell how its kernel is set' });
  });

  it('of one that is away, unknown, or too old is refused in words', async () => {
    await expect(machines().check('h9', () => true)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    capabilities = [];
    await expect(machines().check('h1', () => true)).rejects.toMatchObject({
      reason: 'UNSUPPORTED',
      message: expect.stringMatching(/agent 0\.1\.0 of host h1 .*lacks host\.check.*upgrade/) as string,
    });
    unreachable = true;
    await expect(machines().check('h1', () => true)).rejects.toMatchObject({ reason: 'HOST_UNREACHABLE' });
  });
});

describe('the hardware of a host', () => {
  it('is asked of it anew, and refused in words by one that is too old', async () => {
    capabilities = ['host.hardware'];
    expect(await machines().inventory('h1')).toMatchObject({ host: { name: 'h1' }, inventory: { usb: [] } });
    capabilities = ['host.check'];
    await expect(machines().inventory('h1')).rejects.toMatchObject({
      reason: 'UNSUPPORTED',
      message: expect.stringMatching(/cannot tell what the machine is made of .*lacks host\.hardware/) as string,
    });
  });
});

describe('the clock of a host beside the controller’s', () => {
  const NOW = 1_800_000_000_000;
  it.each([
    ['the same', NOW, 5, true],
    ['a little ahead', NOW + 1_500, 5, true],
    ['behind by no more than its answer took', NOW - 6_000, 7_000, true],
    ['ahead, however long its answer took', NOW + 4_000, 30_000, false],
    ['behind', NOW - 10_000, 5, false],
  ])('that is %s', (_, theirs, tookMs, ok) => {
    expect(skewOf(theirs, NOW, tookMs).check.ok).toBe(ok);
  });

  it('is told with the way out, and a lie stays within bounds', () => {
    expect(skewOf(NOW - 3_600_000, NOW, 10).check.detail).toMatch(/^its clock is .* behind the controller's: .*chrony/);
    expect(skewOf(NOW + 5_000, NOW, 10).check.detail).toContain('5 s ahead of');
    expect(Math.abs(skewOf(Number.MAX_SAFE_INTEGER, NOW, 0).ms)).toBeLessThan(2 ** 31);
    expect(Math.abs(skewOf(0, NOW, 0).ms)).toBeLessThan(2 ** 31);
  });
});
