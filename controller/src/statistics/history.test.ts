/** The last ten minutes: what was put in comes out, gaps stay gaps, and memory is what was promised. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { History, SLOTS, type Values } from './history.ts';

const values = (cpuUsed: number): Values => ({
  ...{ cpuUsed, memoryUsedBytes: 2 ** 33, diskReadBytes: 0, diskWriteBytes: 123_456 },
  ...{ diskOperations: 0.5, diskMs: 12.5, netReceiveBytes: 1e10, netTransmitBytes: 1 },
});
const STEP = 10_000;
const T = 1_700_000_000_000;

describe('history', () => {
  it('gives back what was put in, oldest first, to a thousandth', () => {
    const h = new History({ everyMs: STEP });
    for (let i = 0; i < 5; i++) h.add('vm-1', T + i * STEP, values(i / 10));
    const points = h.points('vm-1', T + 4 * STEP);
    expect(points.map((p) => p.atMs)).toEqual([0, 1, 2, 3, 4].map((i) => T + i * STEP));
    points.forEach((p, i) => {
      expect(p.cpuUsed).toBeCloseTo(i / 10, 3);
      for (const [field, n] of Object.entries(values(0.1)))
        if (field !== 'cpuUsed') expect(Math.abs((p[field as keyof Values] ?? 0) - n)).toBeLessThanOrEqual(n / 1_000);
    });
  });

  it('keeps ten minutes: older ones go, also when nothing new came', () => {
    const h = new History({ everyMs: STEP });
    for (let i = 0; i < 3 * SLOTS; i++) h.add('vm-1', T + i * STEP, values(i));
    const now = T + (3 * SLOTS - 1) * STEP;
    expect(h.points('vm-1', now)).toHaveLength(SLOTS);
    expect(h.points('vm-1', now)[0]?.atMs).toBe(now - (SLOTS - 1) * STEP);
    expect(h.points('vm-1', now + 20 * STEP)).toHaveLength(SLOTS - 20);
    expect(h.points('vm-1', now + SLOTS * STEP)).toEqual([]);
  });

  it('leaves gaps where no sample came, and forgets all after ten minutes of silence', () => {
    const h = new History({ everyMs: STEP });
    h.add('vm-1', T, values(1));
    h.add('vm-1', T + 5 * STEP, values(2));
    expect(h.points('vm-1', T + 5 * STEP).map((p) => p.atMs - T)).toEqual([0, 5 * STEP]);
    h.add('vm-1', T + 5 * STEP + SLOTS * STEP, values(3));
    expect(h.points('vm-1', T + 5 * STEP + SLOTS * STEP)).toHaveLength(1);
  });

  it('lets a mean stand for the time since the sample before, and for no longer than samples may be apart', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1_000, max: 31_000 }), { minLength: 1, maxLength: 40 }),
        fc.nat(STEP - 1),
        (gaps, late) => {
          const h = new History({ everyMs: STEP, slowMs: 3 * STEP });
          let now = T + late;
          h.add('vm-1', now, values(1));
          gaps.forEach((gap, i) => h.add('vm-1', (now += gap), values(i + 2), true));
          const points = h.points('vm-1', now);
          const holes = points.filter((p, i) => i > 0 && p.atMs - (points[i - 1]?.atMs ?? 0) !== STEP);
          // the newest is where it was told
          return holes.length === 0 && Math.abs((points.at(-1)?.cpuUsed ?? 0) / (gaps.length + 1) - 1) < 0.001;
        },
      ),
    );
    const h = new History({ everyMs: STEP, slowMs: 3 * STEP });
    const at = () => h.points('vm-1', T + 12 * STEP).map((p) => [(p.atMs - T) / STEP, Math.round(p.cpuUsed)]);
    h.add('vm-1', T, values(1));
    h.add('vm-1', T + 3 * STEP, values(2), true);
    expect(at()).toEqual([0, 1, 2, 3].map((i) => [i, i === 0 ? 1 : 2]));
    h.add('vm-1', T + 6 * STEP, values(3)); // nobody knows of how long
    h.add('vm-1', T + 11 * STEP, values(4), true); // too long
    expect(at().slice(4)).toEqual([
      [6, 3],
      [11, 4],
    ]);
  });

  it('begins anew for a series that takes the place of another', () => {
    const h = new History({ everyMs: STEP });
    for (let i = 0; i < 4; i++) h.add('vm-1', T + i * STEP, values(1));
    h.forget('vm-1');
    expect(h.points('vm-1', T)).toEqual([]);
    h.add('vm-2', T + STEP, values(3));
    expect(h.points('vm-2', T + STEP).map((p) => Math.round(p.cpuUsed))).toEqual([3]);
  });

  it('keeps the last of several samples in ten seconds, and one for each of a slower rhythm', () => {
    const fast = new History({ everyMs: 1_000 });
    for (let i = 0; i < 20; i++) fast.add('vm-1', T + i * 1_000, values(i));
    expect(fast.points('vm-1', T + 19_000).map((p) => Math.round(p.cpuUsed))).toEqual([9, 19]);
    expect(new History({ everyMs: 60_000 }).stepMs).toBe(60_000);
  });

  it('never gives a number that is below zero or none, whatever comes in', () => {
    fc.assert(
      fc.property(fc.double(), (n) => {
        const h = new History({ everyMs: STEP });
        h.add('vm-1', T, values(n));
        return h.points('vm-1', T).every((p) => Number.isFinite(p.cpuUsed) && p.cpuUsed >= 0);
      }),
    );
  });

  it('takes 960 bytes for a series, measured, and refuses more than there is room for', () => {
    const before = process.memoryUsage().arrayBuffers;
    const h = new History({ everyMs: STEP, most: 10_240 });
    for (let i = 0; i < 11_000; i++) h.add(`vm-${i}`, T, values(1));
    expect(h.size).toBe(10_240);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_240 * 1_000);
    expect(h.points('vm-10999', T)).toEqual([]);
    for (let i = 0; i < 5_000; i++) h.forget(`vm-${i}`);
    const { bytes } = h;
    for (let i = 0; i < 5_000; i++) h.add(`vm-new-${i}`, T, values(1));
    expect(h.bytes).toBe(bytes);
  });
});
