/** Figures of domains come out as they went in, each at its place, and what no figure can be counts as nothing. */
import { expect, it } from 'vitest';
import { DomainStatistics, HostFigures } from '@berth/proto/agent/v1/watch.ts';
import { DomainFiguresTable, toHostFigures } from './figures.ts';

const FIGURES = {
  ...{ overMs: 1, blockReadBytes: 2, blockWriteBytes: 3, blockReads: 4, blockWrites: 5, blockFlushes: 6 },
  ...{ blockReadMs: 7, blockWriteMs: 8, blockFlushMs: 9, netReceiveBytes: 10, netTransmitBytes: 11 },
  ...{ netReceivePackets: 12, netTransmitPackets: 13, netErrors: 14 },
  ...{ balloonBytes: 15, guestTotalBytes: 16, guestUsableBytes: 17 },
};
const domain = (uuid: string, over: object = {}) =>
  DomainStatistics.fromPartial({ uuid, cpuUsed: 0.5, memoryUsedBytes: 7n, figures: FIGURES, ...over });

it('each figure has its own name', () => {
  const table = new DomainFiguresTable();
  table.replace([domain('a', { cpuUsed: 9 }), domain('b')]);
  const { blockReadBytes, blockWriteBytes, blockReads, blockWrites, blockFlushes, ...rest } = FIGURES;
  const { blockReadMs, blockWriteMs, blockFlushMs, ...same } = rest;
  expect(table.get('b')).toEqual({
    ...{ cpuUsed: 0.5, memoryUsedBytes: 7, ...same },
    ...{ diskReadBytes: blockReadBytes, diskWriteBytes: blockWriteBytes, diskReads: blockReads },
    ...{ diskWrites: blockWrites, diskFlushes: blockFlushes },
    ...{ diskReadMs: blockReadMs, diskWriteMs: blockWriteMs, diskFlushMs: blockFlushMs },
  });
  expect(table.get('a')?.cpuUsed).toBe(9);
});

it('a sample takes the place of the one before, and nothing of that is left', () => {
  const table = new DomainFiguresTable();
  table.replace([domain('a'), domain('b'), domain('c')]);
  table.replace([domain('b', { figures: undefined })]);
  expect([table.size, table.get('a'), table.get('c')]).toEqual([1, undefined, undefined]);
  expect(table.get('b')).toMatchObject({ cpuUsed: 0.5, overMs: 0, netErrors: 0, guestUsableBytes: 0 });
  table.replace([domain('b'), domain('b', { cpuUsed: 3 })]);
  expect(table.get('b')).toMatchObject({ cpuUsed: 3 });
});

it('numbers that a liar sends are brought within bounds', () => {
  const table = new DomainFiguresTable();
  table.replace([
    domain('a', {
      cpuUsed: Infinity,
      memoryUsedBytes: 2n ** 64n - 1n,
      figures: { ...FIGURES, overMs: 4, blockReadMs: NaN, netErrors: -1, blockReads: 1e300 },
    }),
  ]);
  const a = table.get('a');
  expect(a).toMatchObject({ cpuUsed: 65_536, memoryUsedBytes: Number.MAX_SAFE_INTEGER, diskReadMs: 0, netErrors: 0 });
  expect(a?.diskReads).toBe(Number.MAX_SAFE_INTEGER);
  const nics = Array.from({ length: 500 }, () => ({ name: 'x\x1b[2J'.repeat(100), receiveBytes: NaN }));
  const host = toHostFigures(HostFigures.fromPartial({ cpuIowait: 7, nics, pools: [{ sizeBytes: 5, freeBytes: 9 }] }));
  expect([host?.cpuIowait, host?.nics.length, host?.nics[0]?.receiveBytes]).toEqual([1, 128, 0]);
  expect(host?.nics[0]?.name).not.toContain('\x1b');
  expect(host?.pools[0]?.freeBytes).toBe(5);
});
