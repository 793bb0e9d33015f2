/** The hub and its streams: diffs, sources that come and go, coalescing, overflow, heartbeats, and who goes first. */
import { describe, expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { SimClock } from '@berth/shared/sim/sim-clock.ts';
import type { HypervisorEvent, DomainSeen } from '../drivers/hypervisor.ts';
import type { Drivers } from '../drivers/machine.ts';
import type { Operations } from '../operations/operations.ts';
import { Hub } from './hub.ts';
import type { Sample, WatchItem } from './items.ts';
import { Outbox } from './outbox.ts';
import { Refresher } from './refresher.ts';
import { WatchStream } from './stream.ts';

const seen = (uuid: string, power: DomainSeen['power'] = 'stopped'): DomainSeen => ({
  uuid,
  name: uuid,
  power,
  reason: 'none',
  persistent: true,
  metadataXml: undefined,
  memoryBytes: 1,
  vcpus: 1,
});
const sample: Sample = {
  atMs: 0,
  cpuUsed: 0,
  load1: 0,
  memoryUsedBytes: 0,
  diskBytes: 0,
  diskFreeBytes: 0,
  domains: [],
};

/** Drivers that answer what the test puts there, and a hub over them. */
function world(options: { outboxLimit?: number; list?: () => Promise<readonly DomainSeen[]> } = {}) {
  const clock = new SimClock();
  const state = {
    domains: [seen('d1')],
    bridges: [] as { name: string }[],
    down: false,
    looksAtVolumes: 0,
    stamp: 'a',
  };
  let emit: (e: HypervisorEvent) => void = () => undefined;
  const answer = async () => {
    if (state.down) throw new ClusterError('HYPERVISOR_UNAVAILABLE', 'down');
    return state.domains;
  };
  const drivers = {
    hypervisor: {
      list: options.list ?? answer,
      subscribe: (l: typeof emit) => {
        emit = l;
        return () => undefined;
      },
    },
    disks: {
      listVolumes: async () => {
        state.looksAtVolumes++;
        return [];
      },
      listImages: async () => [],
      stamp: async () => {
        if (state.stamp === '') throw new Error('it cannot be read');
        return state.stamp;
      },
    },
    bridges: { list: async () => state.bridges },
  } as unknown as Drivers;
  let operated: Parameters<Operations['subscribe']>[0] = () => undefined;
  const operations = {
    list: () => [],
    subscribe: (l: typeof operated) => {
      operated = l;
      return () => undefined;
    },
  } as unknown as Operations;
  const log = createLog('test', 'silent');
  const report = async () => ({ hostname: 'h' }) as never;
  const hub = new Hub({ drivers, operations, report, clock, log, observeEveryMs: 15_000 });
  hub.start();
  const stop = new AbortController();
  const beganMs = clock.monotonic();
  const sampled: [atMs: number, everyMs: number][] = [];
  const sent: WatchItem[] = [];
  let open: (() => void) | undefined;
  let blocked = false;
  const send = (item: WatchItem): Promise<void> => {
    sent.push(item);
    return blocked ? new Promise((resolve) => (open = resolve)) : Promise.resolve();
  };
  const limit = options.outboxLimit === undefined ? {} : { outboxLimit: options.outboxLimit };
  const take = async (everyMs: number) => (sampled.push([clock.monotonic() - beganMs, everyMs]), sample);
  const stream = new WatchStream({ hub, sample: take, clock, statisticsEveryMs: 10_000, ...limit });
  const running = stream.run(send, stop.signal);
  return {
    clock,
    state,
    sent,
    sampled,
    setEvery: (ms: number) => stream.setStatisticsEvery(ms),
    hub,
    emit: (e: HypervisorEvent) => emit(e),
    ended: (kind: string) => operated({ state: 'succeeded' } as never, { name: kind, long: false } as never),
    types: () => sent.map((i) => i.type),
    block: () => void (blocked = true),
    unblock: () => {
      blocked = false;
      open?.();
    },
    end: async () => {
      stop.abort();
      open?.();
      await running;
    },
  };
}

describe('a watch stream', () => {
  it('sends the snapshot between its marks and names the whole sources', async () => {
    const w = world();
    await w.clock.settle();
    expect(w.types().slice(0, 4)).toEqual(
      ['begin', 'domain', 'host', 'end'].sort((a, b) => w.types().indexOf(a as never) - w.types().indexOf(b as never)),
    );
    expect(w.sent.find((i) => i.type === 'end')).toMatchObject({
      complete: ['domains', 'volumes', 'images', 'bridges', 'pools', 'networks'],
    });
    await w.end();
  });

  it('tells a change once, and that it lives when there is none', async () => {
    const w = world();
    await w.clock.settle();
    w.sent.length = 0;
    w.emit({ type: 'domain', uuid: 'd1', seen: seen('d1', 'running') });
    w.emit({ type: 'domain', uuid: 'd1', seen: seen('d1', 'running') });
    await w.clock.settle();
    expect(w.types()).toEqual(['domain']);
    await w.clock.advance(4_500);
    expect(w.types()).toEqual(['domain', 'heartbeat', 'heartbeat']);
    await w.end();
  });

  it('tells statistics as often as it was last asked to, and at once when the last are too old by then', async () => {
    const w = world();
    await w.clock.settle();
    w.setEvery(30_000);
    await w.clock.advance(55_000);
    expect(w.sampled).toEqual([
      [0, 10_000],
      [30_000, 30_000],
    ]);
    w.setEvery(10_000);
    await w.clock.settle();
    await w.clock.advance(14_000);
    w.setEvery(30_000);
    w.setEvery(10_000);
    await w.clock.advance(7_000);
    expect(w.sampled.slice(2)).toEqual([55_000, 65_000, 75_000].map((at) => [at, 10_000]));
    expect(w.types().filter((t) => t === 'statistics')).toHaveLength(5);
    await w.end();
    w.setEvery(500);
    await w.clock.advance(60_000);
    expect(w.sampled).toHaveLength(5);
  });

  it('looks at volumes once for a burst of operations', async () => {
    const w = world();
    await w.clock.settle();
    const before = w.state.looksAtVolumes;
    for (let i = 0; i < 20; i++) w.ended('volume.ensure');
    await w.clock.advance(1_000);
    expect(w.state.looksAtVolumes).toBe(before + 1);
    w.ended('volume.remove');
    await w.clock.advance(1_000);
    expect(w.state.looksAtVolumes).toBe(before + 2);
    await w.end();
  });

  it('looks at the files of volumes once a minute, and at once when one has come or gone', async () => {
    const w = world();
    await w.clock.advance(61_000);
    const looks = async (ms: number): Promise<number> => {
      const before = w.state.looksAtVolumes;
      await w.clock.advance(ms);
      return w.state.looksAtVolumes - before;
    };
    expect(await looks(600_000)).toBe(10);
    expect(await looks(15_000)).toBe(0);
    w.state.stamp = 'b';
    expect(await looks(15_000)).toBe(1);
    w.state.stamp = '';
    expect(await looks(60_000)).toBe(4);
    w.state.stamp = 'b';
    await w.end();
  });

  it('looks at volumes after a snapshot, which changes disks', async () => {
    const w = world();
    await w.clock.settle();
    const before = w.state.looksAtVolumes;
    w.ended('domain.snapshot-revert');
    await w.clock.advance(1_000);
    expect(w.state.looksAtVolumes).toBe(before + 1);
    await w.end();
  });

  it('finds what changed without an event at the next look', async () => {
    const w = world();
    await w.clock.settle();
    w.sent.length = 0;
    w.state.bridges = [{ name: 'br1' }];
    w.state.domains = [];
    await w.clock.advance(15_100);
    expect(w.sent.filter((i) => i.type === 'bridge' || i.type === 'removed')).toEqual(
      expect.arrayContaining([
        { type: 'bridge', bridge: { name: 'br1' } },
        { type: 'removed', kind: 'domain', id: 'd1' },
      ]),
    );
    await w.end();
  });

  it('does not take domains for gone while libvirt is away', async () => {
    const w = world();
    await w.clock.settle();
    w.sent.length = 0;
    w.state.down = true;
    w.emit({ type: 'disconnected', why: 'test' });
    await w.clock.advance(20_000);
    expect(w.types()).not.toContain('removed');
    expect(w.sent.find((i) => i.type === 'sources')).toEqual({
      type: 'sources',
      complete: ['volumes', 'images', 'bridges', 'pools', 'networks'],
    });
    w.sent.length = 0;
    w.state.down = false;
    w.state.domains = [seen('d2')];
    w.emit({ type: 'connected' });
    await w.clock.settle();
    expect(w.types().filter((t) => t !== 'host')).toEqual(['domain', 'removed', 'sources']);
    await w.end();
  });

  it('trusts an event more than a list that was asked for before it', async () => {
    let answer: (d: readonly DomainSeen[]) => void = () => undefined;
    const w = world({ list: () => new Promise((resolve) => (answer = resolve)) });
    await w.clock.settle();
    w.emit({ type: 'domain', uuid: 'd1', seen: seen('d1', 'running') });
    answer([seen('d1', 'stopped')]);
    await w.clock.settle();
    expect(w.sent.filter((i) => i.type === 'domain')).toMatchObject([{ domain: { power: 'running' } }]);
    await w.end();
  });

  it('keeps only the newest state of an object for a slow reader, and sends events before statistics', async () => {
    const w = world();
    await w.clock.settle();
    w.sent.length = 0;
    w.block();
    w.emit({ type: 'domain', uuid: 'd1', seen: seen('d1', 'running') });
    await w.clock.settle();
    for (const power of ['paused', 'running', 'crashed'] as const)
      w.emit({ type: 'domain', uuid: 'd1', seen: seen('d1', power) });
    await w.clock.advance(10_000);
    w.unblock();
    await w.clock.settle();
    expect(w.types().slice(0, 3)).toEqual(['domain', 'domain', 'statistics']);
    expect(w.sent[1]).toMatchObject({ domain: { power: 'crashed' } });
    await w.end();
  });

  it('sends a new snapshot after an overflow', async () => {
    const w = world({ outboxLimit: 5 });
    await w.clock.settle();
    w.block();
    w.emit({ type: 'domain', uuid: 'd1', seen: seen('d1', 'running') });
    await w.clock.settle();
    w.sent.length = 0;
    for (let i = 0; i < 20; i++) w.emit({ type: 'domain', uuid: `n${i}`, seen: seen(`n${i}`) });
    w.unblock();
    await w.clock.settle();
    expect(w.types()[0]).toBe('begin');
    expect(w.types().filter((t) => t === 'domain')).toHaveLength(21);
    await w.end();
  });

  it('begins without a source that does not answer in time', async () => {
    const w = world({ list: () => new Promise(() => undefined) });
    await w.clock.advance(10_100);
    expect(w.sent.find((i) => i.type === 'end')).toMatchObject({
      complete: ['volumes', 'images', 'bridges', 'pools', 'networks'],
    });
    await w.end();
  });
});

describe('small parts of a watch', () => {
  it('lets a removal take the place of an update', () => {
    const box = new Outbox(10);
    box.put('domain/a', { type: 'heartbeat' });
    box.put('x', { type: 'heartbeat' });
    box.put('domain/a', { type: 'removed', kind: 'domain', id: 'a' });
    expect([box.take(), box.take(), box.take()]).toEqual([
      { type: 'heartbeat' },
      { type: 'removed', kind: 'domain', id: 'a' },
      undefined,
    ]);
  });

  it('looks once more when it was asked while looking, and not more often', async () => {
    let looks = 0;
    const ends: (() => void)[] = [];
    const r = new Refresher(() => {
      looks++;
      return new Promise((resolve) => ends.push(resolve));
    });
    const asked = [r.run(), r.run(), r.run()];
    ends[0]?.();
    await asked[0];
    await Promise.resolve();
    ends[1]?.();
    await Promise.all(asked);
    expect(looks).toBe(2);
  });
});
