/**
 * Definitions as people write them: the fields of a schema without the unit in their names, and values that carry it instead
 * (`memory: 2GiB`, `menuTimeout: 5s`). One walk in each direction, for all kinds of objects; which fields there are is the
 * schema's, and what may stand in them is checked by it afterwards.
 */
import * as z from 'zod';
import { nearest } from '../units/nearest.ts';
import { parseBytes, unitBytes } from '../units/bytes.ts';
import { parseDuration, unitDuration } from '../units/duration.ts';
import { faultsOf } from './check.ts';

/** Where in a document, as keys and places in lists, and what is wrong there. */
export interface FormFault {
  readonly path: readonly (string | number)[];
  readonly why: string;
}

export type FormResult<T> =
  | { readonly value: T; readonly faults: readonly [] }
  | { readonly value: undefined; readonly faults: readonly FormFault[] };

/** `memoryBytes` is `memory` to people, `menuTimeoutMs` is `menuTimeout`; rates keep what they count. */
export const formKey = (key: string): string => (/PerSecond$/.test(key) ? key : key.replace(/(Bytes|Ms)$/, ''));

/** What people wrote, checked; all faults at once, by the paths that they wrote. */
export function readForm<T>(schema: z.ZodType<T>, written: unknown): FormResult<T> {
  const faults: FormFault[] = [];
  const value = read(schema, written, [], faults);
  const checked = schema.safeParse(value);
  if (!checked.success)
    for (const issue of checked.error.issues)
      for (const [path, why] of faultsOf(issue)) {
        const place = path === '' ? [] : path.split('.').map((p) => (/^\d+$/.test(p) ? Number(p) : formKey(p)));
        if (!faults.some((f) => startsWith(place, f.path))) faults.push({ path: place, why });
      }
  if (faults.length > 0 || !checked.success) return { value: undefined, faults };
  return { value: checked.data, faults: [] };
}

const startsWith = (path: readonly unknown[], begin: readonly unknown[]): boolean =>
  begin.length > 0 && begin.every((p, i) => path[i] === p);

/** The same as people write it; what is undefined is left out. */
export function writeForm(value: unknown, key = ''): unknown {
  if (typeof value === 'number') return writeNumber(value, key);
  if (Array.isArray(value)) return value.map((v) => writeForm(v));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .map(([k, v]) => [formKey(k), writeForm(v, k)]),
  );
}

function writeNumber(value: number, key: string): unknown {
  if (/BytesPerSecond$/.test(key)) return value % 1024 === 0 ? unitBytes(value) : value;
  if (/Bytes$/.test(key)) return unitBytes(value);
  return /Ms$/.test(key) ? unitDuration(value) : value;
}

type Path = readonly (string | number)[];

function read(schema: z.ZodType, written: unknown, path: Path, faults: FormFault[]): unknown {
  if (schema instanceof z.ZodOptional) {
    // `labels:` with nothing behind it says nothing
    return written === null ? undefined : read(schema.unwrap() as z.ZodType, written, path, faults);
  }
  if (schema instanceof z.ZodObject) return readObject(schema, written, path, faults);
  if (schema instanceof z.ZodArray && Array.isArray(written))
    return written.map((v, i) => read(schema.element as z.ZodType, v, [...path, i], faults));
  if (schema instanceof z.ZodRecord && isMapping(written))
    return Object.fromEntries(Object.entries(written).map(([k, v]) => [k, asText(v)]));
  return leaf(schema, written);
}

function readObject(schema: z.ZodObject, written: unknown, path: Path, faults: FormFault[]): unknown {
  if (!isMapping(written)) return written;
  const fields = schema.shape as Readonly<Record<string, z.ZodType>>;
  const byForm = new Map(Object.keys(fields).map((k) => [formKey(k), k]));
  const value: Record<string, unknown> = {};
  for (const [key, v] of Object.entries(written)) {
    const field = byForm.get(key);
    const at = [...path, key];
    if (field === undefined) faults.push({ path: at, why: unknownField(key, [...byForm.keys()]) });
    else value[field] = unit(field, v, at, faults) ?? read(fields[field] as z.ZodType, v, at, faults);
  }
  return value;
}

function unknownField(key: string, known: readonly string[]): string {
  const asUnit = known.find((k) => k !== key && formKey(key) === k);
  const guess = asUnit ?? nearest(key, known)[0];
  return `is no field here${guess === undefined ? `: known are ${known.join(', ')}` : `: did you mean ${guess}?`}`;
}

/** A value with a unit; undefined when it has none, or is no text: then the schema says what it wants. */
function unit(field: string, v: unknown, path: Path, faults: FormFault[]): unknown {
  const parse = /BytesPerSecond$|Bytes$/.test(field) ? parseBytes : /Ms$/.test(field) ? parseDuration : undefined;
  if (parse === undefined || (typeof v !== 'string' && typeof v !== 'number')) return undefined;
  if (typeof v === 'number' && /PerSecond$/.test(field)) return v;
  try {
    return parse(String(v));
  } catch (e) {
    faults.push({ path, why: `${(e as Error).message}` });
    return 0;
  }
}

/** YAML reads 2.0 and 0 as numbers where a text is wanted; a command line has texts alone. */
function leaf(schema: z.ZodType, written: unknown): unknown {
  if (typeof written === 'string') return fromText(schema, written);
  if (typeof written !== 'number') return written;
  if (schema instanceof z.ZodString) return String(written);
  if (schema instanceof z.ZodEnum)
    return schema.options.find((o) => typeof o === 'string' && o !== '' && Number(o) === written) ?? String(written);
  return written;
}

function fromText(schema: z.ZodType, written: string): unknown {
  if (schema instanceof z.ZodNumber && /^\d{1,15}$/.test(written)) return Number(written);
  const word = written.toLowerCase();
  if (schema instanceof z.ZodBoolean && TRUE.includes(word)) return true;
  return schema instanceof z.ZodBoolean && FALSE.includes(word) ? false : written;
}

const TRUE = ['true', 'yes', 'on'];
const FALSE = ['false', 'no', 'off'];

const asText = (v: unknown): unknown => (typeof v === 'number' || typeof v === 'boolean' ? String(v) : (v ?? ''));

const isMapping = (v: unknown): v is Readonly<Record<string, unknown>> =>
  typeof v === 'object' && v !== null && !Array.isArray(v);
