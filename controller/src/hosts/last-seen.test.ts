import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { facts } from '../../../test/harness/world-builder.ts';
import { LastSeen } from './last-seen.ts';
import type { SeenHost } from './seen-host.ts';
import { silentLog } from './testing.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'berth-seen-'));
  file = join(folder, 'last-seen.json');
});
afterEach(() => rmSync(folder, { recursive: true }));
async function load(): Promise<LastSeen> {
  const seen = new LastSeen(file, systemClock, silentLog);
  await seen.load();
  return seen;
}
const host = (n: number, atMs = 42): SeenHost => ({
  hostId: `host-${n}`,
  atMs,
  facts: undefined,
  vms: { [`vm-${n}`]: 'running' },
});

it('what was seen before a stop is known after the next start', async () => {
  const first = await load();
  expect(first.get('host-1')).toBeUndefined();
  const many = Array.from({ length: 1_000 }, (_, i) => host(i));
  await first.stop(many);
  const next = await load();
  expect(many.map((h) => next.get(h.hostId))).toEqual(many);
});

it('it is written every few seconds, for the case that the controller is killed', async () => {
  const clock = new SimClock();
  new LastSeen(file, clock, silentLog).start(() => [host(1, clock.now())]);
  await clock.advance(10_000);
  await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toContain('"vm-1":"running"'));
});

it('of a damaged file the whole lines are known', async () => {
  writeFileSync(file, `${JSON.stringify(host(1))}\n7\n{"hostId":"host-2",`);
  const seen = await load();
  expect([seen.get('host-1'), seen.get('host-2')]).toEqual([host(1), undefined]);
});

it('a folder that cannot be written to stops nothing', async () => {
  const seen = new LastSeen(join(folder, 'none', 'x.json'), systemClock, silentLog);
  await seen.load();
  await seen.stop([host(1)]);
});

it('hosts with the same CPU share what is known of it: there are thousands of them', async () => {
  const cpu = { model: 'EPYC', vendor: 'AMD', features: [], all: ['lm'], models: ['EPYC'] };
  const many = [1, 2].map((n): SeenHost => ({ ...host(n), facts: facts({ cpu: { ...cpu } }) }));
  await (await load()).stop(many);
  const next = await load();
  expect(next.get('host-1')?.facts?.cpu).toEqual(cpu);
  expect(next.get('host-2')?.facts?.cpu).toBe(next.get('host-1')?.facts?.cpu);
});
