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

describe('tables on a narrow terminal', () => {
  const narrow: Column<{ n: string; why: string }>[] = [
    { title: 'NAME', cell: (r) => r.n },
    { title: 'ADDRESS', cell: () => '10.77.0.10:7444', spare: 2 },
    { title: 'AGE', cell: () => '3 d', spare: 1 },
    { title: 'STATE', cell: () => 'running' },
  ];
  const why: Column<{ n: string; why: string }> = { title: 'WHY', cell: (r) => r.why, prose: true };
  const rows = [{ n: 'web', why: 'no host has room for it: h1 is in maintenance' }];

  it('leave out what can be spared, the least needed first, and only as much as it takes', () => {
    expect(tableLines(narrow, rows, false, 80)[1]).toBe('web   10.77.0.10:7444  3 d  running');
    expect(tableLines(narrow, rows, false, 34)[1]).toBe('web   3 d  running');
    expect(tableLines(narrow, rows, false, 17)[1]).toBe('web   running');
    expect(tableLines(narrow, rows, false, 5)[1]).toBe('web   running');
  });
  it('fold sentences in their column', () => {
    expect(tableLines([...narrow, why], rows, false, 64)).toEqual([
      'NAME  ADDRESS          AGE  STATE    WHY',
      'web   10.77.0.10:7444  3 d  running  no host has room for it: h1',
      '                                     is in maintenance',
    ]);
  });
  it('write sentences below their row where the column would be too narrow', () => {
    expect(tableLines([...narrow, why], rows, false, 44)).toEqual([
      'NAME  ADDRESS          AGE  STATE    WHY',
      'web   10.77.0.10:7444  3 d  running',
      '    no host has room for it: h1 is in',
      '    maintenance',
    ]);
  });
  it('keep a word whole that is longer than a line, so that it can be copied', () => {
    const [, ...lines] = tableLines([why], [{ n: '', why: 'see https://docs.example.org/a/long/path now' }], false, 30);
    expect(lines).toEqual(['see', 'https://docs.example.org/a/long/path', 'now']);
  });
});
