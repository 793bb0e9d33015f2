/** `-o table|wide|json|yaml|name`, the same for every reading command. */
import { stringify } from 'yaml';
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { text, type Flags } from '../core/command.ts';
import { print, type Context } from '../core/context.ts';
import { tableLines, type Column } from './table.ts';

const FORMATS = ['table', 'wide', 'json', 'yaml', 'name'];

export function format(flags: Flags): string {
  const f = text(flags, 'output') ?? 'table';
  if (!FORMATS.includes(f)) throw invalidArgument(`-o ${f}: known are ${FORMATS.join(', ')}`);
  return f;
}

/** Whether lines for people are wanted, not data. */
export const forPeople = (flags: Flags): boolean => ['table', 'wide'].includes(format(flags));

/** A list of objects. `empty` is said on standard error when there are none. */
export function renderList<T extends object>(
  ctx: Context,
  flags: Flags,
  o: { rows: readonly T[]; columns: readonly Column<T>[]; name: (row: T) => string; empty: string },
): void {
  const f = format(flags);
  if (f === 'json') print(ctx, JSON.stringify(o.rows.map(plain), undefined, 2));
  else if (f === 'yaml') ctx.stdout.write(stringify(o.rows.map(plain)));
  else if (f === 'name') o.rows.forEach((r) => print(ctx, o.name(r)));
  else if (o.rows.length === 0) ctx.stderr.write(`${o.empty}\n`);
  else renderTable(ctx, o.columns, o.rows, f === 'wide');
}

/** For people: in a terminal that is narrow only what fits, unless all of it is wanted. */
export const renderTable = <T>(ctx: Context, columns: readonly Column<T>[], rows: readonly T[], wide = false): void =>
  tableLines(columns, rows, wide, roomOf(ctx, wide)).forEach((l) => print(ctx, l));

/** Letters in a line of a terminal; what goes into a pipe or a file is cut by nobody, nor is what is wanted whole. */
export const roomOf = ({ stdout }: Pick<Context, 'stdout'>, wide = false): number =>
  stdout.isTTY && !wide ? stdout.columns || Infinity : Infinity;

/** Objects in full, one below the other. As data: one object, or a list when several were named; documents where there are some. */
export async function renderEach<T extends object>(
  ctx: Context,
  flags: Flags,
  o: {
    names: readonly string[];
    get: (name: string) => Promise<T>;
    name: (row: T) => string;
    lines: (row: T) => readonly string[] | Promise<readonly string[]>;
    /** What apply takes: -o yaml gives that. Absent: there is no such document. */
    document?: (row: T) => object;
  },
): Promise<void> {
  const f = format(flags);
  const rows: T[] = [];
  for (const [i, name] of o.names.entries()) {
    const row = await o.get(name);
    rows.push(row);
    if (f === 'name') print(ctx, o.name(row));
    else if (forPeople(flags)) [...(i > 0 ? [''] : []), ...(await o.lines(row))].forEach((l) => print(ctx, l));
  }
  const data = plain(rows.length === 1 ? rows[0] : rows);
  if (f === 'json') print(ctx, JSON.stringify(data, undefined, 2));
  if (f === 'yaml' && o.document) ctx.stdout.write(rows.map((r) => stringify(o.document!(r))).join('---\n'));
  else if (f === 'yaml') ctx.stdout.write(stringify(data));
}

/** One of many objects that come one after the other, as data: a document for each. */
export function renderNext(ctx: Context, flags: Flags, o: { row: object; name: string }): void {
  const f = format(flags);
  if (f === 'name') print(ctx, o.name);
  else if (f === 'yaml') ctx.stdout.write(`---\n${stringify(plain(o.row))}`);
  else print(ctx, JSON.stringify(plain(o.row)));
}

/** Said behind the last column, only where there is something to say. */
export const remark = <T>(rows: readonly T[], cell: (row: T) => string): Column<T>[] =>
  rows.some((r) => cell(r) !== '') ? [{ title: '', cell: (r) => cell(r) || ' ', prose: true }] : [];

/** `key:   value` lines, aligned. Empty values are left out. */
export function fields(pairs: readonly (readonly [string, string])[]): string[] {
  const shown = pairs.filter(([, v]) => v !== '');
  const width = Math.max(...shown.map(([k]) => k.length)) + 2;
  return shown.map(([k, v]) => `${`${k}:`.padEnd(width)} ${v}`);
}

/** Wire objects as JSON people expect: 64-bit numbers as numbers, bytes as base64. */
function plain(v: unknown): unknown {
  if (typeof v === 'bigint') return Number(v);
  if (v instanceof Uint8Array) return Buffer.from(v).toString('base64');
  if (Array.isArray(v)) return v.map(plain);
  if (typeof v === 'object' && v !== null) return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
  return v;
}
