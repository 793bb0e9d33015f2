/** Aligned columns for people. Pure: rows in, lines out. Numbers stand on the right, empty cells are a dash. */

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => string;
  readonly right?: boolean;
  /** Only with -o wide. */
  readonly wide?: boolean;
}

export function tableLines<T>(columns: readonly Column<T>[], rows: readonly T[], wide: boolean): string[] {
  const shown = columns.filter((c) => wide || !c.wide);
  const cells = rows.map((row) => shown.map((c) => c.cell(row) || '-'));
  const widths = shown.map((c, i) => Math.max(width(c.title), ...cells.map((r) => width(r[i] ?? ''))));
  const line = (values: readonly string[]) =>
    values
      .map((v, i) => pad(v, widths[i] ?? 0, shown[i]?.right === true))
      .join('  ')
      .trimEnd();
  return [line(shown.map((c) => c.title)), ...cells.map(line)];
}

/** Of text without control sequences; wide East Asian letters don't occur in names. */
const width = (s: string): number => [...s].length;
const pad = (s: string, n: number, right: boolean): string => {
  const space = ' '.repeat(Math.max(0, n - width(s)));
  return right ? space + s : s + space;
};
