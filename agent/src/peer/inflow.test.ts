import type { Socket } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Inflow } from './inflow.ts';

interface Given {
  readonly bytes: Buffer;
  readonly done: () => void;
}

/** Plays the socket: gives bytes that count up, so that one which was written over shows. */
function setUp() {
  const inflow = new Inflow();
  const { buffer, callback } = inflow.onread as { buffer: () => Buffer; callback: (bytes: number) => boolean };
  const given: Given[] = [];
  const memory = new Set<ArrayBufferLike>();
  let [room, came, seen, resumed, reading] = [buffer(), 0, 0, 0, true];
  const socket = { resume: () => void (resumed++, (reading = true)) } as unknown as Socket;
  const at = (i: number): number => (i * 31) % 251;
  return {
    ...{ inflow, given, memory },
    arrive(bytes: number): void {
      for (let left = bytes; left > 0;) {
        const n = Math.min(left, room.length);
        for (let i = 0; i < n; i++) room[i] = at(came++);
        left -= n;
        memory.add(room.buffer);
        reading = callback(n);
        room = buffer();
      }
    },
    pour: () =>
      inflow.pour(socket, { give: (bytes, done) => void given.push({ bytes, done }), onBytes: (n) => (seen += n) }),
    /** The n-th of those that are still kept. */
    letGo: (n: number) => given.splice(n % Math.max(1, given.length), 1)[0]?.done(),
    told: () => ({ came, seen, resumed, reading }),
    at,
  };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('what comes over a connection', () => {
  it('is not written over before whoever has it lets go of it, however much comes in whatever pieces', async () => {
    const steps = fc.array(
      fc.oneof(fc.record({ come: fc.integer({ min: 1, max: 70_000 }) }), fc.record({ go: fc.nat() })),
    );
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(5), async (all, pourAt) => {
        const s = setUp();
        const starts = new Map<Given, number>();
        let next = 0;
        const note = (): void => {
          for (const g of s.given) if (!starts.has(g)) starts.set(g, (next += g.bytes.length) - g.bytes.length);
        };
        const check = (): void => {
          for (const g of s.given)
            for (const i of [0, g.bytes.length >> 1, g.bytes.length - 1])
              expect(g.bytes[i]).toBe(s.at(starts.get(g)! + i));
        };
        for (const [i, step] of all.entries()) {
          if (i === pourAt) s.pour();
          note();
          if ('come' in step) s.arrive(step.come);
          else s.letGo(step.go);
          if (i % 3 === 0) await settled();
          note();
          check();
        }
        if (pourAt >= all.length) s.pour();
        s.inflow.flush();
        note();
        check();
        expect([next, s.told().seen]).toEqual([s.told().came, s.told().came]);
      }),
      { numRuns: 60 },
    );
  });

  it('uses its memory again', async () => {
    const s = setUp();
    s.pour();
    for (let i = 0; i < 300; i++) {
      s.arrive(16_384);
      if (i % 4 === 0) await settled();
      while (s.given.length > 1) s.letGo(0);
    }
    expect(s.memory.size).toBeLessThanOrEqual(3);
  });

  it('stops the socket from being read when nobody lets go of it, and has it read again when somebody does', () => {
    const s = setUp();
    s.pour();
    while (s.told().reading) s.arrive(10_000);
    expect(s.told().came).toBeLessThan(300_000);
    s.arrive(64_000); // what TLS had decrypted already
    s.inflow.flush();
    expect(s.told().resumed).toBe(0);
    while (s.given.length > 0) s.letGo(0);
    expect(s.told()).toMatchObject({ resumed: 1, reading: true });
  });

  it('waits for whoever takes it, and is known to be there', async () => {
    const s = setUp();
    const first = s.inflow.first(new AbortController().signal);
    s.arrive(3);
    await first;
    await settled();
    s.pour();
    expect(s.given.map((g) => [...g.bytes])).toEqual([[0, 31, 62]]);
    await expect(setUp().inflow.first(AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });

  it('is thrown away once nobody wants it', () => {
    const s = setUp();
    s.pour();
    s.inflow.stop();
    s.arrive(2 ** 20);
    s.inflow.flush();
    expect(s.told()).toMatchObject({ reading: true, seen: 0 });
    expect([s.given.length, s.memory.size]).toEqual([0, 1]);
  });
});
