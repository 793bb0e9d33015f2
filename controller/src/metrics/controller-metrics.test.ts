/** The way to a host's metrics: what an agent may not do to it, and which agents have none. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { RunningHosts } from '../hosts/connections.ts';
import { enrolledHost, memoryState, newHostId } from '../hosts/testing.ts';
import type { State } from '../state/state.ts';
import { ControllerMetrics } from './controller-metrics.ts';
import { Meters } from './meters.ts';

let state: State;
beforeEach(async () => {
  state = await memoryState();
  await state.update((tx) => tx.hosts.put(enrolledHost({ id: newHostId(), name: 'h1', address: '127.0.0.1:1' })));
});
afterEach(() => state.close());

function metrics(pieces: () => Iterable<Uint8Array>, o: { capabilities?: string[]; http?: string } = {}) {
  const facts = { capabilities: o.capabilities ?? ['metrics'], agentVersion: '0.1.0' };
  const hosts = {
    status: () => ({ state: 'up', facts, lastSeenMs: 1 }),
    async *readMetrics() {
      yield* pieces();
    },
    subscribe: () => () => undefined,
  } as unknown as RunningHosts;
  const deps = { state, hosts, clock: systemClock, meters: new Meters(systemClock), version: '1' };
  return new ControllerMetrics({ ...deps, httpAddress: () => o.http });
}

async function read(m: ControllerMetrics, host = 'h1'): Promise<number> {
  let bytes = 0;
  for await (const piece of m.host(host, new AbortController().signal)) bytes += piece.length;
  return bytes;
}

describe('metrics of a host, relayed', () => {
  it('come as its agent gives them out', async () => {
    expect(await read(metrics(() => [Buffer.alloc(1_000), Buffer.alloc(500)]))).toBe(1_500);
  });

  it('end where an agent sends more than a host can have', async () => {
    const endless = function* (): Generator<Uint8Array> {
      for (;;) yield Buffer.alloc(1 << 20);
    };
    await expect(read(metrics(endless))).rejects.toThrow(/h1 gives out more metrics than any host can have/);
  });

  it('are told to be missing by name where the agent is too old, or there is no such host', async () => {
    await expect(read(metrics(() => [], { capabilities: [] }))).rejects.toThrow(
      /0\.1\.0 of host h1 cannot give out metrics/,
    );
    await expect(
      read(
        metrics(() => []),
        'h2',
      ),
    ).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('have no targets where HTTPS is off', () => {
    expect(() => metrics(() => []).targets('', () => true)).toThrow(/HTTPS is off/);
    expect(JSON.parse(metrics(() => [], { http: 'c:7480' }).targets('', () => true))).toHaveLength(1);
    expect(JSON.parse(metrics(() => [], { http: 'c:7480' }).targets('', () => false))).toEqual([]);
  });
});

it('answers all who scrape at once with one text, made once', async () => {
  const m = metrics(() => []);
  const [a, b] = await Promise.all([m.text(), m.text()]);
  expect(a).toBe(b);
  expect(a).toContain('berth_hosts{state="up"} 1\n');
});
