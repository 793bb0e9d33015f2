import { beforeEach, describe, expect, it, vi } from 'vitest';
import { AppCluster } from '../../../test/harness/app-cluster.ts';
import { ImagePushes, type PushWanted } from './image-push.ts';

let c: AppCluster;
let pushes: ImagePushes;
const to = (hosts: readonly string[], more: Partial<PushWanted> = {}): PushWanted => ({
  ...{ image: 'base', hosts, all: false },
  ...more,
});
const push = (wanted: PushWanted) => c.timed(pushes.push(wanted, 'test'));
const refusal = async (wanted: PushWanted): Promise<string> => {
  const e = (await push(wanted).catch((x: unknown) => x)) as { reason?: string; message?: string };
  return `${e.reason}: ${e.message}`;
};
const copies = async (): Promise<readonly string[]> => (await c.life.images.get('base')).copies.map((x) => x.host);

beforeEach(async () => {
  c = await AppCluster.make();
  pushes = new ImagePushes({ state: c.life.state, hosts: c.sim.hosts, jobs: c.life.jobs });
  await c.import('base');
});

describe('an image that is pushed', () => {
  it('is copied to all hosts at once, and left alone where it is', async () => {
    const [holder] = await copies();
    const { pushes: started, unreachable } = await push(to([], { all: true }));
    expect(started.map((p) => [p.host, p.jobId === undefined])).toEqual(
      ['h1', 'h2', 'h3'].map((h) => [h, h === holder]),
    );
    expect(unreachable).toEqual([]);
    for (const { jobId } of started) if (jobId) expect(await c.ended(jobId)).toBe('succeeded');
    expect(await copies()).toEqual(['h1', 'h2', 'h3']);
  });

  it('goes to the hosts with such labels', async () => {
    const { state } = c.life;
    const h2 = state.tables.hosts.byName('h2')!;
    await c.timed(state.update((tx) => tx.hosts.put({ ...h2, labels: { rack: 'r7' } })));
    const { pushes: started } = await push(to([], { selector: 'rack=r7' }));
    expect(started.map((p) => p.host)).toEqual(['h2']);
  });

  it('pushed again meanwhile is the same copy', async () => {
    const [first, again] = [await push(to(['h1', 'h2', 'h3'])), await push(to(['h1', 'h2', 'h3']))];
    expect(again.pushes).toEqual(first.pushes);
  });

  it('leaves out hosts that cannot be reached, unless they are named', async () => {
    const h3 = c.life.state.tables.hosts.byName('h3')!;
    c.sim.hosts.disconnect(h3.id);
    const all = await push(to([], { all: true }));
    expect([all.pushes.map((p) => p.host), all.unreachable]).toEqual([['h1', 'h2'], ['h3']]);
    expect((await push(to(['h3']))).pushes.map((p) => p.host)).toEqual(['h3']);
  });

  it('is refused where nothing, or nothing known, is meant', async () => {
    expect([
      await refusal(to([])),
      await refusal(to(['h1'], { all: true })),
      await refusal(to(['h9'])),
      await refusal(to(['h1'], { image: 'nosuch' })),
      await refusal(to([], { selector: 'a=b=c=' })),
    ]).toMatchInlineSnapshot(`
      [
        "INVALID_ARGUMENT: to which hosts? Name them, or a selector of their labels, or say all",
        "INVALID_ARGUMENT: to which hosts? Name them, or a selector of their labels, or say all",
        "NOT_FOUND: host h9 does not exist. Did you mean h1 or h2 or h3?",
        "NOT_FOUND: image nosuch does not exist. See: berth image list",
        "INVALID_ARGUMENT: "a=b=c=" selects nothing: write it like team=a, tier!=db, zone or !zone",
      ]
    `);
  });
});

describe('hosts that copy at the same time', () => {
  it('read from each other: the holder is asked by one of them', async () => {
    const asked: string[] = [];
    for (const host of c.sim.hosts.all()) {
      const open = host.openExport.bind(host);
      host.openExport = (v) => (asked.push(host.name), open(v));
    }
    const [holder] = await copies();
    const { pushes: started } = await push(to([], { all: true }));
    for (const { jobId } of started) if (jobId) await c.ended(jobId);
    expect(asked.filter((name) => name === holder)).toHaveLength(1);
    expect(asked).toHaveLength(2);
  });

  it('are asked about once a second, however many they are', async () => {
    const HOSTS = 2_000;
    const SECONDS = 10;
    await c.timed(c.sim.addHosts(Array.from({ length: HOSTS }, (_, i) => `n${i}`)));
    for (const host of c.sim.hosts.all()) host.endless = true;
    const begun = performance.now();
    await push(to([], { all: true }));
    const pushed = performance.now();
    await c.sim.clock.advance(10_000);
    const fed = performance.now();
    const status = vi.spyOn(c.sim.hosts, 'status');
    await c.sim.clock.advance(SECONDS * 1_000);
    const ms = (from: number, until: number): number => Math.round(until - from);
    console.log(
      `${HOSTS} copies: ${ms(begun, pushed)} ms to start, ${ms(pushed, fed)} ms to give them sources, then ` +
        `${Math.round(ms(fed, performance.now()) / SECONDS)} ms and ${status.mock.calls.length / SECONDS} looks a second`,
    );
    expect(c.life.state.tables.jobs.openSize).toBeGreaterThan(HOSTS - 1);
    expect(status.mock.calls.length / SECONDS).toBeLessThan(1.5 * HOSTS);
  }, 60_000);
});
