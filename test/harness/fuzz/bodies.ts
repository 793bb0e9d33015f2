/**
 * Bodies that mean harm, or nothing: random bytes, JSON that is almost right, values at their edges, wire format with wrong
 * lengths. Everything follows from the seed.
 */
import document from '@berth/proto/openapi.json' with { type: 'json' };

type Random = () => number;
interface Schema {
  readonly properties?: Readonly<Record<string, unknown>>;
}

/** Names that requests and what is in them have. */
const FIELDS = [
  ...new Set(
    Object.entries(document.components.schemas as Readonly<Record<string, Schema>>)
      .filter(([name]) => /Request$|^Upload|^Open/.test(name))
      .flatMap(([, s]) => Object.keys(s.properties ?? {})),
  ),
];
const EDGES: readonly unknown[] = [
  ...[
    '',
    'a',
    '../../etc/passwd',
    '\u0000',
    'vm-',
    'job-0',
    '💥'.repeat(50),
    'A'.repeat(5_000),
    '%00',
    '\r\nx: y',
    '-1',
    '1e309',
  ],
  ...[0, -0, 1, -1, 0.5, 2 ** 31, 2 ** 32, 2 ** 53, 1e308, -1e308, 1e-320],
  ...['18446744073709551615', '18446744073709551616', '-9223372036854775809', '0x10', ' 5 ', 'NaN', 'Infinity'],
  ...[
    true,
    false,
    null,
    [],
    {},
    [[]],
    [null],
    { '': '' },
    JSON.parse('{"__proto__":1,"constructor":2}'),
    'admin',
    'operator',
    'raw',
  ],
];

const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
const upTo = (random: Random, n: number): number => Math.floor(random() * (n + 1));

const textOf = (v: unknown): string => (typeof v === 'object' ? JSON.stringify(v) : String(v));

export function bytesOf(random: Random, n: number): Buffer {
  const bytes = Buffer.alloc(n);
  for (let i = 0; i < n; i++) bytes[i] = Math.floor(random() * 256);
  return bytes;
}

function value(random: Random, depth: number): unknown {
  const kind = random();
  if (depth > 0 && kind < 0.15) return Array.from({ length: upTo(random, 4) }, () => value(random, depth - 1));
  if (depth > 0 && kind < 0.3) return object(random, depth - 1);
  return pick(random, EDGES);
}

function object(random: Random, depth: number): Record<string, unknown> {
  const entries = Array.from({ length: upTo(random, 5) }, () => {
    const name = random() < 0.9 ? pick(random, FIELDS) : textOf(pick(random, EDGES));
    return [name, value(random, depth)] as const;
  });
  return Object.fromEntries(entries);
}

/** JSON, or what was JSON before something happened to it. */
export function jsonBody(random: Random): Buffer {
  const kind = random();
  if (kind < 0.1) return bytesOf(random, upTo(random, 200));
  if (kind < 0.15) return Buffer.from(pick(random, ['[', '{"a":']).repeat(1 + upTo(random, 2_000)));
  const text = Buffer.from(JSON.stringify(object(random, 3)) ?? 'null');
  if (kind < 0.7) return text;
  return mangled(random, text);
}

function mangled(random: Random, whole: Buffer): Buffer {
  const bytes = Buffer.from(whole);
  for (let n = 1 + upTo(random, 3); n > 0 && bytes.length > 0; n--)
    bytes[upTo(random, bytes.length - 1)] = upTo(random, 255);
  return random() < 0.3 ? bytes.subarray(0, upTo(random, bytes.length)) : bytes;
}

export function queryOf(random: Random): string {
  const names = [...FIELDS, 'pageSize', 'pageToken', 'page_size', '%', '__proto__'];
  const parts = Array.from({ length: upTo(random, 3) }, () => {
    const v = pick(random, EDGES);
    return `${pick(random, names)}=${encodeURIComponent(textOf(v)).slice(0, 500)}`;
  });
  return parts.length === 0 ? '' : `?${parts.join('&')}`;
}

/** For `{vm}` in a path. */
export const nameOf = (random: Random): string =>
  encodeURIComponent(
    String(
      pick(
        random,
        EDGES.filter((e) => typeof e === 'string' && e !== ''),
      ),
    ),
  ).slice(0, 2_000);

/** Fields with numbers that messages have, and types, lengths and contents that they have not. */
export function protoBody(random: Random): Buffer {
  if (random() < 0.15) return bytesOf(random, upTo(random, 200));
  const parts = Array.from({ length: upTo(random, 6) }, () => fieldOf(random, 2));
  const whole = Buffer.concat(parts);
  return random() < 0.3 ? mangled(random, whole) : whole;
}

function fieldOf(random: Random, depth: number): Buffer {
  const wire = pick(random, [0, 1, 2, 2, 2, 5, 3, 4, 7]);
  const tag = varint(BigInt((1 + upTo(random, 17)) * 8 + wire));
  if (wire === 0) return Buffer.concat([tag, pick(random, [varint(0n), varint(2n ** 64n - 1n), bytesOf(random, 12)])]);
  if (wire === 1) return Buffer.concat([tag, bytesOf(random, 8)]);
  if (wire === 5) return Buffer.concat([tag, bytesOf(random, 4)]);
  if (wire !== 2) return tag;
  const inside = depth > 0 && random() < 0.3 ? fieldOf(random, depth - 1) : Buffer.from(textOf(pick(random, EDGES)));
  const length = random() < 0.8 ? BigInt(inside.length) : pick(random, [0n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 63n]);
  return Buffer.concat([tag, varint(length), inside]);
}

function varint(n: bigint): Buffer {
  const bytes: number[] = [];
  for (let left = n; ; left >>= 7n) {
    const more = left > 127n;
    bytes.push(Number(left & 127n) | (more ? 128 : 0));
    if (!more) return Buffer.from(bytes);
  }
}
