/**
 * Aligned columns for people. Pure: rows in, lines out. Numbers stand on the right, empty cells are a dash. On a terminal
 * too narrow for all, what can be spared is left out and sentences go on below themselves, because wrapped rows can't be read.
 */

export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => string;
  readonly right?: boolean;
  /** Only with -o wide. */
  readonly wide?: boolean;
  /** Left out where there is no room; the highest goes first. */
  readonly spare?: number;
  /** Sentences: folded where there is no room. Only for the last column. */
  readonly prose?: boolean;
}

/** Sentences in a narrower column than this are harder to read than below their row. */
const NARROWEST_PROSE = 24;
const BELOW = 4;

/** @param room letters in a line; all the room that is needed unless given. */
export function tableLines<T>(
  columns: readonly Column<T>[],
  rows: readonly T[],
  wide: boolean,
  room = Infinity,
): string[] {
  const all = columns
    .filter((c) => wide || !c.wide)
    .map((column): Shown => {
      const cells = rows.map((row) => column.cell(row) || '-');
      return { ...column, cells, width: Math.max(width(column.title), ...cells.map(width)) };
    });
  const last = all.at(-1);
  const prose = last?.prose === true && lineWidth(all) > room ? last : undefined;
  const shown = fitting(prose ? all.slice(0, -1) : all, room);
  const line = (values: readonly string[]) =>
    values
      .map((v, i) => pad(v, shown[i]?.width ?? 0, shown[i]?.right === true))
      .join('  ')
      .trimEnd();
  const head = shown.map((c) => c.title);
  const body = rows.map((_, r) => shown.map((c) => c.cells[r] ?? ''));
  if (!prose) return [head, ...body].map(line);
  const beside = { at: lineWidth(shown) + 2, room };
  return [[head, prose.title] as const, ...body.map((row, r) => [row, prose.cells[r] ?? ''] as const)].flatMap(
    ([row, said]) => withProse(line(row), said, beside),
  );
}

interface Shown {
  readonly title: string;
  readonly right?: boolean;
  readonly spare?: number;
  readonly prose?: boolean;
  readonly cells: readonly string[];
  readonly width: number;
}

function fitting(columns: readonly Shown[], room: number): readonly Shown[] {
  if (lineWidth(columns) <= room) return columns;
  const most = Math.max(...columns.map((c) => c.spare ?? 0));
  return most === 0
    ? columns
    : fitting(
        columns.filter((c) => c.spare !== most),
        room,
      );
}

const lineWidth = (columns: readonly Shown[]): number => columns.reduce((sum, c) => sum + c.width + 2, -2);

function withProse(line: string, said: string, { at, room }: { at: number; room: number }): string[] {
  if (said.trim() === '') return [line];
  if (room - at >= NARROWEST_PROSE || width(said) <= room - at) {
    const [first = '', ...more] = folded(said, room - at);
    return [pad(line, at, false) + first, ...more.map((l) => ' '.repeat(at) + l)];
  }
  return said === '-' ? [line] : [line, ...folded(said, room - BELOW).map((l) => ' '.repeat(BELOW) + l)];
}

/** At spaces; what is longer than a line stays whole, so that it can be copied. */
function folded(said: string, room: number): string[] {
  return said.split(' ').reduce<string[]>((lines, word) => {
    const last = lines.at(-1);
    if (last === undefined || width(last) + 1 + width(word) > room) return [...lines, word];
    return [...lines.slice(0, -1), `${last} ${word}`];
  }, []);
}

/** Of text without control sequences; wide East Asian letters don't occur in names. */
const width = (s: string): number => [...s].length;
const pad = (s: string, n: number, right: boolean): string => {
  const space = ' '.repeat(Math.max(0, n - width(s)));
  return right ? space + s : s + space;
};
