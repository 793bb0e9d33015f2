import { describe, expect, it } from 'vitest';
import { tableLines, type Column } from './table.ts';

const columns: Column<{ n: string; m: string }>[] = [
  { title: 'NAME', cell: (r) => r.n },
  { title: 'MEMORY', cell: (r) => r.m, right: true },
  { title: 'ID', cell: (r) => `id-${r.n}`, wide: true },
];

describe('tables', () => {
  it('align columns, numbers on the right, with a dash for what is not known', () => {
    expect(
      tableLines(
        columns,
        [
          { n: 'web-01', m: '512 MiB' },
          { n: 'db', m: '' },
        ],
        false,
      ),
    ).toEqual(['NAME     MEMORY', 'web-01  512 MiB', 'db            -']);
  });
  it('show more when asked', () => {
    expect(tableLines(columns, [{ n: 'a', m: '1' }], true)).toEqual(['NAME  MEMORY  ID', 'a          1  id-a']);
  });
});
