/**
 * Agents one minor version older and newer beside one of today, as processes: what they add is ignored, what they lack is
 * refused in one line that names the host and the capability, and everything else works.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DomainPower, DomainStatus } from '@berth/proto/agent/v1/domain.ts';
import type { FakeAgent } from '@berth/controller/hosts/fake-agent.ts';
import { Cluster } from '../harness/cluster.ts';
import { rawDisk } from '../harness/disk-files.ts';
import { addLiar } from '../harness/liar.ts';
import { eventually } from '../harness/processes.ts';

/** Field 900: a number, text, and a message with a field of its own. */
const UNKNOWN = Buffer.from([0xa0, 0x38, 0x2a, 0xa2, 0x38, 0x03, 0x66, 0x6f, 0x6f, 0xa2, 0x38, 0x02, 0x08, 0x01]);

let c: Cluster;
let older: FakeAgent;
let newer: FakeAgent;

beforeAll(async () => {
  c = await Cluster.start();
  await c.addSimulated('h1');
  ({ liar: older } = await addLiar(c, 'older', (a) => {
    a.capabilities = [];
    a.version = '0.0.9';
  }));
  ({ liar: newer } = await addLiar(c, 'newer', (a) => {
    a.capabilities = [...a.capabilities, 'time.travel'];
    a.version = '0.2.0';
    a.sources = [...a.sources, 'tapes'];
    a.disguise = (bytes) => Buffer.concat([UNKNOWN, bytes, UNKNOWN]);
  }));
  await c.waitUp('h1', 'older', 'newer');
  for (const a of [older, newer])
    a.send({ $case: 'bridge', value: { name: 'br0', up: true, ports: [], addresses: [], owned: false } });
  writeFileSync(join(c.dir, 'base.img'), rawDisk(4 * 2 ** 20));
  await c.ok('image', 'import', join(c.dir, 'base.img'), '--host', 'h1');
});
afterAll(async () => {
  older?.stop();
  newer?.stop();
  await c?.stop();
});

interface Vm {
  readonly id: string;
  readonly uuid: string;
  readonly state: string;
}

/** A VM without an image, which no capability is needed for. @returns what sets its power. */
async function vmOn(agent: FakeAgent, host: string): Promise<(power: number) => void> {
  await c.ok('vm', 'create', `on-${host}`, '--disk', '16MiB', '--host', host, '--memory', '64MiB');
  const { id, uuid } = await c.json<Vm>('vm', 'show', `on-${host}`);
  const say = (power: number): void => {
    agent.domains = [DomainStatus.fromPartial({ uuid, vmId: id, name: `on-${host}`, power: power as DomainPower })];
    agent.send({ $case: 'domain', value: agent.domains[0]! });
  };
  agent.answers.set('startDomain', () => (say(DomainPower.RUNNING), {}));
  agent.answers.set('forceOffDomain', () => (say(DomainPower.STOPPED), {}));
  say(DomainPower.STOPPED);
  return say;
}

const refusal = async (...args: string[]): Promise<string> => {
  const r = await c.berth(...args);
  expect(r.code).not.toBe(0);
  return r.err;
};

it('an older agent does what it can; what it cannot is one line that names it and what it lacks', async () => {
  await vmOn(older, 'older');
  await c.ok('vm', 'start', 'on-older');
  for (const [capability, words] of [
    ['serial-log', ['vm', 'log', 'on-older']],
    ['console', ['vm', 'console', 'on-older']],
    ['image.fetch', ['vm', 'clone', 'base', 'copy', '--host', 'older']],
  ] as const) {
    const said = await refusal(...words);
    const lines = said.split('\n').filter((l) => l.includes(`lacks ${capability}`));
    expect([words, lines]).toEqual([words, [expect.stringMatching(/\bolder\b.*upgrade it/)]]);
  }
  older.send({
    $case: 'domain',
    value: DomainStatus.fromPartial({
      ...{ uuid: '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10', vmId: 'vm-01m7yyyjr900pc68539czxxxxx', name: 'lost' },
      power: DomainPower.STOPPED,
    }),
  });
  await eventually('it is found', async () => /lost +found/.test(await c.ok('vm', 'list')));
  expect(await refusal('vm', 'adopt', 'lost')).toMatch(
    /^berth: .*0\.0\.9 of host older .*lacks domain\.describe.*upgrade it/,
  );
  // whatever it lacks: the others are chosen, and it goes on
  await c.ok('vm', 'clone', 'base', 'elsewhere');
  await c.ok('vm', 'stop', 'on-older', '--force');
  await c.ok('vm', 'delete', 'on-older');
});

it('a newer agent is an agent: what it adds to each answer and each report is left out', async () => {
  const watches = newer.watches;
  const say = await vmOn(newer, 'newer');
  await c.ok('vm', 'start', 'on-newer');
  const state = async () => (await c.json<Vm>('vm', 'show', 'on-newer')).state;
  expect(await state()).toBe('running');
  expect(await c.ok('vm', 'log', 'on-newer')).toBe('hello from the guest');
  say(99);
  await eventually('a power that nobody knows is unknown', async () => (await state()) === 'unknown');
  newer.send(undefined as never);
  newer.send({ $case: 'removed', value: { kind: 'tape', id: 'x' } });
  say(DomainPower.RUNNING);
  await eventually('it is seen again', async () => (await state()) === 'running');
  const typed = await c.berthWith({ input: 'hello\u001d' }, 'vm', 'console', 'on-newer');
  expect([typed.code, typed.err]).toEqual([0, expect.not.stringMatching(/error/i)]);
  await c.ok('vm', 'clone', 'base', 'copy', '--host', 'newer');
  await c.ok('vm', 'stop', 'on-newer', '--force');
  await c.ok('vm', 'delete', 'on-newer');
  expect([await c.hostState('newer'), newer.watches]).toEqual(['up', watches]);
});
