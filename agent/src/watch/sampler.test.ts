/** How often libvirt is asked: once for all who want to know at about the same time, and not again for what a scrape has just read. */
import { expect, it } from 'vitest';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import { createSimDrivers } from '../drivers/sim/sim-drivers.ts';
import { createSampler } from './sampler.ts';

const UUID = '6f1c9a52-6f0e-4c7b-9a57-0c5a4c1f7d10';

function world() {
  const clock = new SimClock();
  const sim = createSimDrivers({ name: 'h1', runDir: '/tmp', clock });
  let asked = 0;
  let cpuTimeNs = 0n;
  const stats = async () => {
    asked++;
    const more = { atMs: clock.monotonic() };
    return [{ uuid: UUID, cpuTimeNs, blockReadBytes: 0n, blockWriteBytes: 0n, more }];
  };
  const drivers = { ...sim, hypervisor: { ...sim.hypervisor, stats } };
  const sampler = createSampler(drivers as never, clock);
  const run = async (ms: number, share: number): Promise<void> => {
    cpuTimeNs += BigInt(ms * share) * 1_000_000n;
    await clock.advance(ms);
  };
  const cpu = async (maxAgeMs?: number) => (await sampler.sample(maxAgeMs)).domains[0]?.cpuUsed;
  return { sampler, run, cpu, asked: () => asked, clock };
}

it('makes a sample of what a scrape has read, when that is recent enough, and rates over the time between samples', async () => {
  const { sampler, run, cpu, asked } = world();
  expect(await cpu(5_000)).toBe(0);
  await run(5_000, 1);
  await sampler.read();
  await run(4_000, 0);
  expect(asked()).toBe(2);
  expect(await cpu(5_000)).toBe(1);
  expect(asked()).toBe(2);
  await run(6_000, 0.5);
  await sampler.read();
  await run(4_000, 0.5);
  expect(await cpu(1_000)).toBe(5 / 14);
  expect(asked()).toBe(4);
});

it('asks anew for each sample where nobody scrapes, and tells the time at which it was read', async () => {
  const { sampler, run, cpu, asked, clock } = world();
  for (let i = 1; i <= 3; i++) {
    await cpu(5_000);
    expect(asked()).toBe(i);
    await run(1_000, 1);
  }
  const before = clock.now();
  await sampler.read();
  await run(2_000, 1);
  expect(await sampler.sample(5_000)).toMatchObject({ atMs: before });
});

it('reads four times a minute for a scrape every 15 s and a sample every 30 s, whenever they fall', async () => {
  for (const afterMs of [0, 3_000, 7_500, 14_000]) {
    const { sampler, asked, clock } = world();
    await sampler.sample();
    await clock.advance(afterMs);
    let scrapes = 0;
    for (let s = 0; s < 600; s++) {
      if (s % 15 === 0) scrapes += (await sampler.read(), 1);
      if ((s + afterMs / 1_000) % 30 === 0) await sampler.sample(15_000);
      await clock.advance(1_000);
    }
    expect([scrapes, asked() - scrapes]).toEqual([40, afterMs === 0 ? 0 : 1]);
  }
});

it('gives all who ask at once the same', async () => {
  const { sampler, asked } = world();
  const [a, b] = await Promise.all([sampler.sample(5_000), sampler.sample(), sampler.read(), sampler.read()]);
  expect(a).toBe(b);
  expect(asked()).toBe(1);
});
