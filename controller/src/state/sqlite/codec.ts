/**
 * Rows and values: which fields of a value have a typed column (what is filtered, unique or referred to); all others
 * travel in the JSON column `body`, so a new field of a value needs no migration. Pure; used on both sides of the worker.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { TableName } from '../state.ts';

export type SqlValue = string | number | null;
type Kind = 'text' | 'number' | 'flag';

export interface Codec {
  readonly table: TableName;
  readonly sqlTable: string;
  /** [field, column, kind]; the first column is the primary key. */
  readonly columns: readonly (readonly [field: string, column: string, kind: Kind])[];
  /** The key is not a field of the value. */
  readonly keyApart: boolean;
}

const snake = (s: string): string => s.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);

/** `fields`: names, with `#` before a number and `?` before a flag. */
function codec(table: TableName, fields: string, keyApart = false): Codec {
  const columns = fields.split(' ').map((f) => {
    const name = f.replace(/^[#?]/, '');
    return [name, snake(name), f.startsWith('#') ? 'number' : f.startsWith('?') ? 'flag' : 'text'] as const;
  });
  return { table, sqlTable: snake(table), columns, keyApart };
}

/** In the order in which they are loaded. */
export const CODECS: readonly Codec[] = [
  codec('hosts', 'id name address ?maintenance certificateFingerprint #createdAtMs #generation'),
  codec('images', 'id name state digest sourceDigest #virtualSizeBytes #createdAtMs'),
  codec('pools', 'id name state #createdAtMs #generation'),
  codec('networks', 'id name state #createdAtMs #generation'),
  codec('clusters', 'name #generation'),
  codec('vms', 'id name uuid phase hostId desiredPower #generation #createdAtMs'),
  codec('volumes', 'id name state hostId imageId #sizeBytes #createdAtMs'),
  codec('imageCopies', 'key imageId hostId #fileBytes', true),
  codec('claims', 'vmId hostId #vcpus #memoryBytes #diskBytes ?powered'),
  codec(
    'jobs',
    'id kind #version state subject key user #createdAtMs #endedAtMs #deadlineAtMs #wakeAtMs waitReason ?cancelRequested',
  ),
  codec('users', 'id name kind ?disabled #createdAtMs #generation'),
  codec('tokens', 'id user role secretHash #createdAtMs #expiresAtMs'),
  codec('joinTokens', 'id hostId secretHash #expiresAtMs'),
  codec('debts', 'id hostId kind target vmId why'),
  codec('alarms', 'id kind severity subjectKind subject #sinceMs'),
  codec('reviews', 'hostId #restoredAtMs #backupAtMs'),
  codec('certificates', 'serial purpose hostId state #notAfterMs'),
];

export function codecOf(table: TableName): Codec {
  const found = CODECS.find((c) => c.table === table);
  if (!found) throw new ClusterError('INTERNAL', `table ${table} has no place in the database`);
  return found;
}

/** The columns in order, then the body. */
export function encode(c: Codec, key: string, value: object): SqlValue[] {
  const rest: Record<string, unknown> = { ...value };
  const row = c.columns.map(([field, , kind], i): SqlValue => {
    if (i === 0 && c.keyApart) return key;
    const v = rest[field];
    delete rest[field];
    if (v === undefined) return null;
    return kind === 'flag' ? Number(v) : (v as SqlValue);
  });
  return [...row, JSON.stringify(rest)];
}

/** @param row columns in order, then the body as an object. */
export function decode(c: Codec, row: readonly unknown[]): object {
  const value: Record<string, unknown> = {};
  for (let i = c.keyApart ? 1 : 0; i < c.columns.length; i++) {
    const [field, , kind] = c.columns[i]!;
    const v = row[i];
    value[field] = v === null ? undefined : kind === 'flag' ? v === 1 : v;
  }
  return Object.assign(value, row[c.columns.length]);
}

export const columnNames = (c: Codec): string[] => [...c.columns.map(([, column]) => column), 'body'];
