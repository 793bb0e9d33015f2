/** The text is what Prometheus reads, whatever names strangers give, and no instrument grows without end. */
import { describe, expect, it } from 'vitest';
import { Exposition, label, labels, type Families } from './exposition.ts';
import { Counter, Histogram } from './instruments.ts';
import { PROCESS_FAMILIES, writeProcess } from './process.ts';

const FAMILIES = {
  a_total: { type: 'counter', help: 'Of a.', labels: ['x'], bound: '1' },
  b: { type: 'gauge', help: 'Of b.', labels: [], bound: '1' },
  c_seconds: { type: 'histogram', help: 'Of c.', labels: ['x'], bound: '1' },
} as const satisfies Families;

describe('exposition', () => {
  it('keeps the samples of a family together, in the order of its table, and leaves out what has none', () => {
    const to = new Exposition(FAMILIES);
    to.add('b', 1.5);
    to.add('a_total', 1n, label('x', '1'));
    to.add('b', Infinity);
    to.add('a_total', 2, label('x', '2'));
    expect(to.text()).toBe(
      '# HELP a_total Of a.\n# TYPE a_total counter\na_total{x="1"} 1\na_total{x="2"} 2\n# HELP b Of b.\n# TYPE b gauge\nb 1.5\nb +Inf\n',
    );
  });

  it('escapes what a label may not hold, and cuts what is too long', () => {
    expect(labels(['a', 'b'], ['x"\\\n', ''])).toBe('a="x\\"\\\\\\n",b=""');
    expect(label('a', 'x'.repeat(1_000))).toHaveLength(4 + 256);
  });

  it('counts in buckets that add up', () => {
    const h = new Histogram(['x'], [1, 2]);
    for (const n of [0.5, 1, 1.5, 9]) h.observe(n, 'v');
    const to = new Exposition(FAMILIES);
    h.write(to, 'c_seconds');
    expect(to.text().split('\n').slice(2, -1)).toEqual([
      'c_seconds_bucket{x="v",le="1"} 2',
      'c_seconds_bucket{x="v",le="2"} 3',
      'c_seconds_bucket{x="v",le="+Inf"} 4',
      'c_seconds_sum{x="v"} 12',
      'c_seconds_count{x="v"} 4',
    ]);
  });

  it('never has more series than it may: what is beyond counts as other', () => {
    const c = new Counter(['x'], 10);
    for (let i = 0; i < 1_000; i++) c.add(1, `stranger-${i}`);
    const to = new Exposition(FAMILIES);
    c.write(to, 'a_total');
    expect(to.size).toBe(11);
    expect(to.text()).toContain('a_total{x="other"} 990');
  });

  it('tells of the process', () => {
    const to = new Exposition(PROCESS_FAMILIES);
    writeProcess(to, { nowMs: 1_800_000_000_000, openFds: 12 });
    expect(to.text()).toMatch(/^process_resident_memory_bytes \d{7,}$/m);
    expect(to.size).toBe(Object.keys(PROCESS_FAMILIES).length);
  });
});
