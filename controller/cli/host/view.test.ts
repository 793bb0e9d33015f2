import { expect, it } from 'vitest';
import { Host, HostState } from '@berth/proto/v1/host.ts';
import { tableLines } from '../output/table.ts';
import { hostColumns, hostView } from './view.ts';

const GIB = 2n ** 30n;
const row = (h: Partial<Parameters<typeof Host.fromPartial>[0]>): string => {
  const host = hostView(Host.fromPartial({ name: 'h1', state: HostState.UP, ...h }));
  const shown = hostColumns(0).filter((c) => ['NAME', 'VMS', 'MEMORY'].includes(c.title));
  return tableLines(shown, [host], false)[1] ?? '';
};

it('a host shows what foreign domains take of it', () => {
  const capacity = { memoryBytes: 16n * GIB, memoryClaimedBytes: 2n * GIB, memoryForeignBytes: GIB };
  expect(row({ vmCount: 3, runningVmCount: 2, foreignCount: 1, capacity })).toBe(
    'h1    2 of 3 run, 1 foreign  3 GiB / 16 GiB',
  );
  expect(row({ foreignCount: 2, capacity })).toBe('h1    0, 2 foreign  3 GiB / 16 GiB');
  expect(row({ capacity: { ...capacity, memoryForeignBytes: 0n } })).toBe('h1    0    2 GiB / 16 GiB');
});
