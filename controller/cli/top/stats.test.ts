import { expect, it } from 'vitest';
import { StatisticsPoint } from '@berth/proto/v1/statistics.ts';
import { historyLines } from './stats.ts';

it('the last minutes are a picture with what is now, the mean and the most; a gap stays one', () => {
  const point = (slot: number, cpuUsed: number) =>
    StatisticsPoint.fromPartial({
      atMs: BigInt(1_000_000 + slot * 10_000),
      cpuUsed,
      diskWriteBytes: 2e6,
      diskMs: 1.26,
    });
  const lines = historyLines([point(0, 0.1), point(1, 0.8), point(3, 0.4)], 10_000, { skip: ['net in', 'net out'] });
  expect(lines).toEqual([
    'MEASURE          NOW    MEAN    MOST  LAST 40 S',
    'cpu             40 %    43 %    80 %  ▂█ ▅',
    'memory             0       0       0  ▁▁ ▁',
    'disk read          0       0       0  ▁▁ ▁',
    'disk write    2 MB/s  2 MB/s  2 MB/s  ██ █',
    'disk ops           0       0       0  ▁▁ ▁',
    'disk latency  1.3 ms  1.3 ms  1.3 ms  ██ █',
  ]);
  const many = Array.from({ length: 60 }, (_, i) => point(i, i === 30 ? 0.8 : 0.1));
  const narrow = historyLines(many, 10_000, { room: 60 });
  expect(Math.max(...narrow.map((l) => l.length))).toBeLessThanOrEqual(60);
  expect(narrow[1]).toMatch(/^cpu +10 % +11 % +80 % {2}▂+█▂+$/); // a peak is still one
  expect(historyLines(many, 10_000, { room: 30 })[0]).toBe('MEASURE          NOW    MEAN    MOST');
  expect(historyLines([], 10_000)).toEqual(['nothing is known of the last ten minutes yet']);
});
