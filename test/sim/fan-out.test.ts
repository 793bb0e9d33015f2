/** How long an image takes to many hosts at once, against the time that one link needs for it (reference: 1.0). */
import { CHUNK_BYTES } from '@berth/shared/disk/digest.ts';
import { describe, expect, it } from 'vitest';
import { PIECE_BYTES } from '@berth/agent/drivers/linux/fetch/chunks.ts';
import { seeded } from '../harness/fake-hosts.ts';
import { FanOut, type FanOutOptions } from './fan-out.ts';

const GB = 1e9;
const LINK = 125e6;
const usual = {
  ...{ pieceBytes: CHUNK_BYTES, partBytes: PIECE_BYTES, passMs: 5, bytesPerSecond: LINK },
  ...{ hopMs: 20, lookMs: 2_000, silentMs: 10_000 },
};

/** Machines that do other things too: each host has 20 to 100 % of its speed, another share every three seconds. */
function busy(seed: number): (host: number, atMs: number) => number {
  return (host, atMs) => 0.2 + 0.8 * seeded(seed * 1e6 + host * 1_000 + Math.floor(atMs / 3_000))();
}

async function fanOut(o: Pick<FanOutOptions, 'hosts' | 'imageBytes'> & Partial<FanOutOptions>) {
  const options = { ...usual, ...o };
  const { doneMs, moves, sourceSentBytes } = await new FanOut(options).run();
  const best = (o.imageBytes / options.bytesPerSecond) * 1_000;
  const at = (share: number): number => doneMs[Math.ceil(share * doneMs.length) - 1]! / best;
  return { hosts: doneMs.length, at, moves, egress: sourceSentBytes / o.imageBytes };
}

describe('an image on its way to many hosts', () => {
  it('takes little longer than one link needs for it, and leaves its source about once', async () => {
    const r = await fanOut({ hosts: 8, imageBytes: GB });
    expect(r.at(1)).toBeLessThan(1.2);
    expect(r.egress).toBeLessThan(1.1);
  });

  it('is on 99 % of a thousand hosts after 1.3 times that', async () => {
    const r = await fanOut({ hosts: 1_000, imageBytes: 10 * GB });
    expect(r.at(0.99)).toBeLessThan(1.3);
    expect(r.egress).toBeLessThan(1.1);
  }, 120_000);

  it('comes one part of a piece later to each further host of one chain', async () => {
    const hopMs = 1;
    const r = await fanOut({ hosts: 300, imageBytes: 5 * GB, hopMs, passMs: 0 });
    expect(r.at(0.99)).toBeLessThan(1 + (1.1 * 300) / ((5 * GB) / PIECE_BYTES));
    const whole = await fanOut({ hosts: 300, imageBytes: 5 * GB, hopMs, passMs: 0, partBytes: CHUNK_BYTES });
    expect(whole.at(0.99)).toBeGreaterThan(1 + (0.9 * 300) / ((5 * GB) / CHUNK_BYTES));
    expect(r.egress).toBeLessThan(1.1);
  }, 120_000);

  it('is not held back by hosts with a slow link, but for these', async () => {
    const slow = new Map([3, 40, 77].map((i) => [i, 0.3]));
    const r = await fanOut({ hosts: 100, imageBytes: 10 * GB, slow });
    expect(r.at(0.97)).toBeLessThan(1.5);
    expect(r.at(1)).toBeLessThan(1.05 / 0.3);
    expect(r.egress).toBeLessThan(1.1);
  });

  it('is not taken from its source again and again because hosts are slow now and then', async () => {
    for (const seed of [1, 2, 3]) {
      const small = await fanOut({ hosts: 8, imageBytes: 2 ** 28, bytesPerSecond: 2 ** 23, pace: busy(seed) });
      expect(small.egress).toBeLessThan(1.1);
      const r = await fanOut({ hosts: 100, imageBytes: 10 * GB, pace: busy(seed) });
      expect(r.egress).toBeLessThan(1.1);
      expect(r.moves).toBeLessThan(10);
    }
  }, 120_000);

  it('goes past a host that sends slowly', async () => {
    const r = await fanOut({ hosts: 100, imageBytes: 10 * GB, slowSending: new Map([[50, 0.25]]) });
    expect(r.at(1)).toBeLessThan(2);
    expect(r.egress).toBeLessThan(1.1);
    const first = await fanOut({ hosts: 100, imageBytes: 10 * GB, slowSending: new Map([[0, 0.25]]) });
    expect(first.at(0.99)).toBeLessThan(1.5);
    expect(first.at(1)).toBeLessThan(2);
    expect(first.egress).toBeLessThan(1.4); // nobody but the source is ahead of it
  });

  it('goes past a slow host also when the others before it are done sooner than anybody can see that', async () => {
    const imageBytes = GB; // 8 s; who is slow is seen at five looks, after 10 s
    const tenth = (...hosts: readonly number[]) => new Map(hosts.map((i) => [i, 0.1]));
    const seen = 10_000 / ((imageBytes / LINK) * 1_000);
    for (const n of [0, 3]) {
      const r = await fanOut({ hosts: 8, imageBytes, slowSending: tenth(n) });
      expect(r.at(1)).toBeLessThan(1.1 + seen);
      expect(r.egress).toBeLessThan(n === 0 ? 2 : 1.1); // of a first one nobody else has the image
    }
    const two = await fanOut({ hosts: 8, imageBytes, slowSending: tenth(0, 1) });
    expect(two.at(1)).toBeLessThan(1.1 + 2 * seen);
    const link = await fanOut({ hosts: 8, imageBytes, slow: tenth(3) });
    expect(link.at(7 / 8)).toBeLessThan(1.1 + 1.4 * seen); // two more looks: at what it gets from its next source
    expect(link.at(1)).toBeLessThan(1.05 / 0.1);
    expect(link.egress).toBeLessThan(1.1);
  });

  it('does not wait for a first host with a slow link, though all are as slow as that one then', async () => {
    for (const [hosts, slow, share, imageBytes, atMost] of [
      [100, [0], 0.25, 10 * GB, 1.15],
      [8, [0], 0.25, 10 * GB, 1.15],
      [100, [0, 1], 0.25, 10 * GB, 1.5],
      [8, [0], 0.1, GB, 1.9], // 8 s; it is gone past after 6
      [8, [0, 1], 0.1, GB, 4], // and the next after 18 more
    ] as const) {
      const links = new Map(slow.map((i) => [i, share]));
      const r = await fanOut({ hosts, imageBytes, slow: links });
      expect(r.at((hosts - slow.length) / hosts)).toBeLessThan(atMost);
      expect(r.at(1)).toBeLessThan(1.05 / share);
      expect(r.egress).toBeLessThan(1.1);
    }
  });

  it('has hosts change places seldom when it is the source that is slow', async () => {
    const r = await fanOut({ hosts: 100, imageBytes: 10 * GB, slow: new Map([[-1, 0.25]]) });
    expect(r.at(1)).toBeLessThan(1.05 / 0.25);
    expect(r.egress).toBeLessThan(1.1);
    expect(r.moves).toBeLessThan(10);
  });

  it('comes to all the others when some die on the way', async () => {
    const deaths = new Map([
      [11, 20_000],
      [94, 23_000],
    ]);
    const r = await fanOut({ hosts: 100, imageBytes: 10 * GB, deaths });
    expect(r.hosts).toBe(98);
    expect(r.at(1)).toBeLessThan(1.3);
    expect(r.egress).toBeLessThan(1.1);
  });
});
