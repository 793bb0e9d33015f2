/** What stands in the way of a batch: collected row by row, and told all at once. Reads nothing but the rows. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import { formatIp, parseIp } from '@berth/shared/net/ip.ts';
import { normaliseMac } from './macs.ts';
import { portOf, type BatchRow, type CloneMany, type Conflict } from './batch-request.ts';

/** Told in an error; a dry run tells all. */
const TOLD = 20;
/** So that it fits into the head of an answer, which is where errors travel. */
const MOST_LETTERS = 6000;
/** What a caller has to mend first: words that mean nothing before things that are not there, and these before what others have. */
const WORST: readonly Reason[] = [
  'INVALID_ARGUMENT',
  'NOT_FOUND',
  'PERMISSION_DENIED',
  'ALREADY_EXISTS',
  'RESOURCE_BUSY',
];

export class Conflicts {
  readonly #all: Conflict[] = [];
  readonly #rows = new Set<number>();

  constructor(private readonly rows: readonly BatchRow[]) {}

  get size(): number {
    return this.#all.length;
  }

  /** In the order of the rows. */
  list(): readonly Conflict[] {
    return [...this.#all].sort((a, b) => a.row - b.row);
  }

  has = (at: number): boolean => this.#rows.has(at);

  /** @param at place of the row; undefined: of all together. */
  add(at: number | undefined, message: string, reason: Reason = 'ALREADY_EXISTS'): void {
    const row = at === undefined ? undefined : this.rows[at];
    if (at !== undefined) this.#rows.add(at);
    this.#all.push({ row: (at ?? -1) + 1, line: row?.line ?? 0, name: row?.name ?? '', message, reason });
  }

  /** What it gives; what it throws, if that is a refusal, stands in the way of the row. */
  of<T>(at: number, make: () => T): T | undefined {
    try {
      return make();
    } catch (e) {
      if (!isClusterError(e)) throw e;
      for (const line of e.message.split('\n')) this.add(at, line, e.reason);
      return undefined;
    }
  }

  /** Names, MACs, ports of one host, and addresses unless that is meant, that two rows share. */
  addTwins(request: CloneMany): void {
    const sharesAddresses = request.all.allowTakenAddress === true;
    const address = (text: string) => parseIp(text.split('/')[0] ?? '');
    this.#twins('name', (r) => r.name);
    this.#twins('address', (r) => {
      const ip = sharesAddresses ? undefined : address(r.address);
      return ip ? formatIp(ip) : '';
    });
    this.#twins('MAC address', (r) => (r.mac === '' ? '' : quietly(() => normaliseMac(r.mac))));
    this.#twins('VNC port', (r, at) => {
      const host = r.host || (r.hostSelector === '' ? request.all.host : '');
      const port = host === '' ? '' : quietly(() => String(portOf(request, r, at) ?? ''));
      return port === '' ? '' : `${port} of host ${host}`;
    });
  }

  #twins(what: string, of: (r: BatchRow, at: number) => string): void {
    const first = new Map<string, number>();
    for (const [at, row] of this.rows.entries()) {
      const value = of(row, at);
      if (value === '') continue;
      const before = first.get(value);
      if (before === undefined) first.set(value, at);
      else this.add(at, `${what} ${value} is also that of ${rowWords(this.rows, before)}`);
    }
  }

  /** @throws the worst of them, with all in its words. */
  refuse(): void {
    if (this.size === 0) return;
    const all = this.list();
    const alike = groups(all);
    const lines: string[] = [];
    let told = 0;
    for (const group of alike.slice(0, TOLD)) {
      const line = groupWords(group);
      if (lines.join().length + line.length >= MOST_LETTERS) continue;
      lines.push(line);
      told += group.length;
    }
    if (all.length > told) lines.push(`and ${all.length - told} more, which a dry run tells`);
    const reason = WORST.find((r) => all.some((c) => c.reason === r)) ?? all[0]?.reason ?? 'INTERNAL';
    // hosts are named in words alone, and only those that the caller may see: what is meta of a refused placement is filtered
    throw new ClusterError(reason, `nothing was made:\n${lines.join('\n')}`);
  }
}

/** `line 3 (web-02)`, `row 2 (web-02)` */
export function rowWords(rows: readonly Pick<BatchRow, 'line' | 'name'>[], at: number): string {
  const { line = 0, name = '' } = rows[at] ?? {};
  return placeWords({ row: at + 1, line, name });
}

const placeWords = ({ row, line, name }: Pick<Conflict, 'row' | 'line' | 'name'>): string =>
  `${line > 0 ? `line ${line}` : `row ${row}`}${name === '' ? '' : ` (${name.slice(0, 63)})`}`;

/** Those with the same words together, where the first of them is: what keeps one VM off every host keeps a hundred. */
function groups(all: readonly Conflict[]): readonly (readonly Conflict[])[] {
  const byWords = new Map<string, Conflict[]>();
  for (const c of all) {
    const words = c.row === 0 ? `all: ${c.message}` : c.message;
    const group = byWords.get(words);
    if (group) group.push(c);
    else byWords.set(words, [c]);
  }
  return [...byWords.values()];
}

/** `row 1 (web-01) and 99 more: no host has room …` */
function groupWords([first, ...more]: readonly Conflict[]): string {
  if (first === undefined) return '';
  if (first.row === 0) return first.message;
  return `${placeWords(first)}${more.length > 0 ? ` and ${more.length} more` : ''}: ${first.message}`;
}

/** What is no such thing at all is told where it is read. */
function quietly(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
