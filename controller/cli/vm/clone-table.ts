/** A table of VMs to be made, as CSV: what people keep in spreadsheets. Reads the files that it names; asks no controller. */
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import { CsvError, parse } from 'csv-parse/sync';
import { BatchRow } from '@berth/proto/v1/batch.ts';
import { invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { isSshKey, sshKeyLines } from '@berth/shared/trust/ssh-key.ts';
import { parseBytes } from '@berth/shared/units/bytes.ts';
import { nearest } from '@berth/shared/units/nearest.ts';
import { readText } from '../core/files.ts';

/** What a cell of this column says of its row. */
type Read = (cell: string, folder: string) => Partial<BatchRow>;

const COLUMNS: Readonly<Record<string, Read>> = {
  name: (name) => ({ name }),
  host: (cell) => (/[=!,]/.test(cell) ? { hostSelector: cell } : { host: cell }),
  ip: (address) => ({ address }),
  gateway: (gateway) => ({ gateway }),
  dns: (cell) => ({ dns: cell.split(/[\s,;]+/).filter((d) => d !== '') }),
  mac: (mac) => ({ mac }),
  'vnc-port': (cell) => ({ vncPort: whole(cell, 5900, 65_535) }),
  memory: (cell) => ({ memoryBytes: BigInt(parseBytes(cell)) }),
  vcpus: (cell) => ({ vcpus: whole(cell, 1, 1024) }),
  'ssh-key': (cell, folder) => ({ sshKeys: keys(cell, folder) }),
  'user-data': (cell, folder) => ({ userData: readText(below(folder, cell)) }),
};
const OTHER_NAMES: Readonly<Record<string, string>> = {
  ...{ hostname: 'name', vm: 'name', address: 'ip', 'ip-address': 'ip', gw: 'gateway', 'name-servers': 'dns' },
  ...{ 'ip/prefix': 'ip', 'ip-prefix': 'ip', cidr: 'ip', selector: 'host', 'host-or-selector': 'host', ram: 'memory' },
  ...{ 'mac-address': 'mac', vnc: 'vnc-port', cpus: 'vcpus', 'ssh-keys': 'ssh-key', 'ssh-key-file': 'ssh-key' },
  ...{ userdata: 'user-data', 'user-data-file': 'user-data' },
};

/** Faults told at once; more of them have the same cause. */
const TOLD = 20;

export interface Table {
  readonly rows: BatchRow[];
}

interface Line {
  readonly cells: readonly string[];
  readonly line: number;
}

/**
 * @param file for the words of refusals, and for the folder in which the files that cells name are looked for; `-`: here.
 * @throws INVALID_ARGUMENT, one line per fault, each with its line of the table
 */
export function readTable(text: string, file: string): Table {
  const called = file === '-' ? 'standard input' : file;
  const [head, ...lines] = withoutTail(linesOf(withoutHint(text), called));
  if (head === undefined)
    throw invalidArgument(`${called} is empty: its first line names the columns, as in name,ip,gateway`);
  const columns = columnsOf(head, called);
  if (lines.length === 0) throw invalidArgument(`${called} names columns, and no VM below them`);
  const faults: string[] = [];
  const folder = file === '-' ? '.' : dirname(file);
  const rows = lines.map((l) => rowOf(l, columns, folder, (why) => faults.push(`${called} line ${l.line}: ${why}`)));
  if (faults.length > TOLD) faults.splice(TOLD, Infinity, `and ${faults.length - TOLD} more`);
  if (faults.length > 0) throw invalidArgument(faults.join('\n'));
  return { rows };
}

/** Excel tells itself on a first line what divides cells; the line after it tells as well. It stays a line, so that lines are counted right. */
const withoutHint = (text: string): string => text.replace(/^\uFEFF?"?sep=.?"?[ \t]*(?=\r|\n|$)/i, '');

/** Columns at the end that have no name, and nothing in any line: spreadsheets write as many as somebody once touched. */
function withoutTail(lines: readonly Line[]): readonly Line[] {
  const [head] = lines;
  if (head === undefined) return lines;
  const named = head.cells.findLastIndex((c) => c !== '') + 1;
  const isTail = named > 0 && lines.every((l) => l.cells.slice(named).every((c) => c === ''));
  return isTail ? lines.map((l) => ({ ...l, cells: l.cells.slice(0, named) })) : lines;
}

function linesOf(text: string, called: string): readonly Line[] {
  if (text.includes('\0'))
    throw invalidArgument(
      `${called} is no table that can be read: it has zero bytes in it, as UTF-16 has. Save it as UTF-8`,
    );
  try {
    const records = parse(text, {
      ...{ bom: true, comment: '#', comment_no_infix: true, delimiter: delimiterOf(text), info: true },
      ...{ relax_column_count: true, skip_empty_lines: true, skip_records_with_empty_values: true, trim: true },
    }) as unknown as readonly { readonly record: readonly string[]; readonly info: { readonly lines: number } }[];
    return records.map(({ record, info }) => ({ cells: record, line: info.lines }));
  } catch (e) {
    if (!(e instanceof CsvError)) throw e;
    throw invalidArgument(`${called} is no table that can be read: ${e.message}`);
  }
}

/** Spreadsheets of some countries write semicolons, others tabs: the first line tells. */
function delimiterOf(text: string): string {
  const first =
    text
      .replace(/^\uFEFF/, '')
      .split(/\r?\n|\r/)
      .find((l) => l.trim() !== '' && !l.startsWith('#')) ?? '';
  if (first.includes(',')) return ',';
  return first.includes(';') ? ';' : first.includes('\t') ? '\t' : ',';
}

function columnsOf({ cells, line }: Line, called: string): readonly string[] {
  const known = Object.keys(COLUMNS);
  const columns = cells.map((cell) => {
    const plain = cell.toLowerCase().replaceAll(/[\s_]+/g, '-');
    const name = OTHER_NAMES[plain] ?? plain;
    if (Object.hasOwn(COLUMNS, name)) return name;
    const [near] = nearest(plain, [...known, ...Object.keys(OTHER_NAMES)]);
    const hint = near === undefined ? '' : ` Did you mean ${near}?`;
    throw invalidArgument(
      `${called} line ${line}: ${JSON.stringify(cell.slice(0, 40))} is no column.${hint} Known are ${known.join(', ')}`,
    );
  });
  const twice = columns.find((c, i) => columns.indexOf(c) !== i);
  if (twice !== undefined) throw invalidArgument(`${called} line ${line}: there are two columns ${twice}`);
  if (!columns.includes('name')) throw invalidArgument(`${called} line ${line}: there is no column name`);
  return columns;
}

function rowOf(
  { cells, line }: Line,
  columns: readonly string[],
  folder: string,
  fault: (why: string) => void,
): BatchRow {
  const row = BatchRow.fromPartial({ line });
  if (cells.length !== columns.length) {
    fault(`it has ${cells.length} cells, and there are ${columns.length} columns`);
    return row;
  }
  for (const [i, column] of columns.entries()) {
    const cell = cells[i] ?? '';
    if (cell === '') {
      if (column === 'name') fault('it has no name');
      continue;
    }
    try {
      Object.assign(row, COLUMNS[column]?.(cell, folder));
    } catch (e) {
      if (!isClusterError(e)) throw e;
      fault(`${column}: ${e.message}`);
    }
  }
  return row;
}

function whole(cell: string, least: number, most: number): number {
  if (/^\d{1,9}$/.test(cell) && Number(cell) >= least && Number(cell) <= most) return Number(cell);
  throw invalidArgument(`${JSON.stringify(cell.slice(0, 40))} is no number from ${least} to ${most}`);
}

function below(folder: string, path: string): string {
  if (path.startsWith('~/')) return join(homedir(), path.slice(2));
  return isAbsolute(path) ? path : join(folder, path);
}

/** Keys themselves, or files with keys. */
const keys = (cell: string, folder: string): string[] =>
  sshKeyLines(cell)
    .flatMap((line) => (isSshKey(line) ? [line] : line.split(';').map((k) => k.trim())))
    .filter((k) => k !== '')
    .flatMap((k) => (isSshKey(k) ? [k] : sshKeyLines(readText(below(folder, k)))));
