/** One file of a support bundle, and what could not be had. Everything passes here, and leaves without secrets. */
import { createHash } from 'node:crypto';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import { redact } from '@berth/shared/model/redact.ts';
import { scrub } from '@berth/shared/model/scrub.ts';

export interface Part {
  /** Below the folder of the archive. */
  readonly path: string;
  readonly data: Buffer;
}

export interface Missing {
  /** As it would be called. */
  readonly path: string;
  readonly why: string;
}

export interface Parts {
  readonly parts: readonly Part[];
  readonly missing: readonly Missing[];
}

export const textPart = (path: string, text: string): Part => ({ path, data: Buffer.from(scrub(text)) });

export const jsonPart = (path: string, value: unknown): Part =>
  textPart(path, `${JSON.stringify(redact(plain(value)), undefined, 1)}\n`);

/** Many things of one kind, one below the other: a line each. */
export const linesPart = (path: string, values: Iterable<unknown>): Part =>
  textPart(path, [...values].map((v) => `${JSON.stringify(redact(plain(v)))}\n`).join(''));

export const missing = (path: string, e: unknown): Missing => ({ path, why: scrub(chain(e)) });

/** What JSON can't say by itself. */
function plain(v: unknown): unknown {
  if (typeof v === 'bigint') return Number(v);
  if (typeof v !== 'object' || v === null) return v;
  if (v instanceof Set || Array.isArray(v)) return [...(v as Iterable<unknown>)].map(plain);
  if (v instanceof Map) return [...(v as Map<unknown, unknown>)].map(([k, x]) => [plain(k), plain(x)]);
  return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, plain(x)]));
}

/** A name as it may be in an archive; one that is too long or odd keeps its beginning and a mark of its own. */
export function plainName(name: string, most: number): string {
  const safe = name.replaceAll(/[^A-Za-z0-9._-]/g, '_').replace(/^\.+/, '_');
  if (safe === name && safe.length <= most) return safe;
  const mark = createHash('sha256').update(name).digest('hex').slice(0, 8);
  return `${safe.slice(0, most - 9)}-${mark}`;
}
