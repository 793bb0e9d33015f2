/**
 * The XDR codec: small typed combinators from which the tables in types.ts and procedures.ts are built. A reader never
 * allocates more than the bytes it was given justify, so no input can make it hang or blow up. Knows nothing of libvirt.
 */

/** Malformed input to a reader, or a value that the wire format cannot carry. */
export class XdrError extends Error {
  override readonly name = 'XdrError';
}

export interface Codec<T> {
  /** The fewest bytes one value takes; bounds the element count of arrays before anything is allocated. */
  readonly minBytes: number;
  write(w: XdrWriter, value: T): void;
  read(r: XdrReader): T;
}

export type TypeOf<C> = C extends Codec<infer T> ? T : never;

/** libvirt's own limit for one string. */
export const MAX_STRING_BYTES = 4_194_304;

export class XdrWriter {
  #buffer = Buffer.alloc(256);
  #length = 0;

  /** Room for `bytes` more; returns where they start. The room may hold old bytes: the caller overwrites all of it. */
  reserve(bytes: number): { buffer: Buffer; at: number } {
    const at = this.#length;
    this.#length += bytes;
    if (this.#length > this.#buffer.length) {
      const grown = Buffer.alloc(Math.max(this.#length, this.#buffer.length * 2));
      this.#buffer.copy(grown, 0, 0, at);
      this.#buffer = grown;
    }
    return { buffer: this.#buffer, at };
  }

  bytes(data: Uint8Array): void {
    const padded = (data.length + 3) & ~3;
    const { buffer, at } = this.reserve(padded);
    buffer.set(data, at);
    buffer.fill(0, at + data.length, at + padded);
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }
}

export class XdrReader {
  #at = 0;
  constructor(readonly buffer: Buffer) {}

  get remaining(): number {
    return this.buffer.length - this.#at;
  }

  /** Steps over `bytes` and returns where they start. */
  take(bytes: number): number {
    if (bytes > this.remaining) throw new XdrError(`needs ${bytes} bytes, ${this.remaining} are left`);
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  bytes(length: number): Buffer {
    const at = this.padded(length);
    return this.buffer.subarray(at, at + length);
  }

  /** Without a view of its own: of one list of statistics there are thousands. */
  text(length: number): string {
    const at = this.padded(length);
    return this.buffer.toString('utf8', at, at + length);
  }

  private padded(length: number): number {
    const at = this.take(length);
    this.take(-length & 3);
    return at;
  }
}

/** Encodes one value. */
export function encode<T>(codec: Codec<T>, value: T): Buffer {
  const w = new XdrWriter();
  codec.write(w, value);
  return w.finish();
}

/** Decodes one value that must fill `buffer` exactly. */
export function decode<T>(codec: Codec<T>, buffer: Buffer): T {
  const r = new XdrReader(buffer);
  const value = codec.read(r);
  if (r.remaining !== 0) throw new XdrError(`${r.remaining} bytes too many`);
  return value;
}

/** Node's own range errors ("value out of range") become ours, so callers catch one class. */
function checked<T>(write: (value: T) => void, value: T): void {
  try {
    write(value);
  } catch (e) {
    throw new XdrError(e instanceof Error ? e.message : String(e));
  }
}

function scalar<T>(
  bytes: number,
  write: (b: Buffer, value: T, at: number) => void,
  read: (b: Buffer, at: number) => T,
): Codec<T> {
  return {
    minBytes: bytes,
    write(w, value) {
      const { buffer, at } = w.reserve(bytes);
      checked((v: T) => write(buffer, v, at), value);
    },
    read: (r) => read(r.buffer, r.take(bytes)),
  };
}

export const int: Codec<number> = scalar(
  4,
  (b, v, at) => b.writeInt32BE(v, at),
  (b, at) => b.readInt32BE(at),
);
export const uint: Codec<number> = scalar(
  4,
  (b, v, at) => b.writeUInt32BE(v, at),
  (b, at) => b.readUInt32BE(at),
);
export const hyper: Codec<bigint> = scalar(
  8,
  (b, v, at) => b.writeBigInt64BE(v, at),
  (b, at) => b.readBigInt64BE(at),
);
export const uhyper: Codec<bigint> = scalar(
  8,
  (b, v, at) => b.writeBigUInt64BE(v, at),
  (b, at) => b.readBigUInt64BE(at),
);
export const double: Codec<number> = scalar(
  8,
  (b, v, at) => b.writeDoubleBE(v, at),
  (b, at) => b.readDoubleBE(at),
);

/** No bytes at all: procedures without arguments or results. */
export const nothing: Codec<void> = { minBytes: 0, write: () => undefined, read: () => undefined };

export const string: Codec<string> = {
  minBytes: 4,
  write(w, value) {
    const data = Buffer.from(value, 'utf8');
    if (data.length > MAX_STRING_BYTES) throw new XdrError(`text of ${data.length} bytes; at most ${MAX_STRING_BYTES}`);
    if (data.includes(0)) throw new XdrError('text with a NUL character');
    uint.write(w, data.length);
    w.bytes(data);
  },
  read(r) {
    const length = uint.read(r);
    if (length > MAX_STRING_BYTES) throw new XdrError(`text of ${length} bytes; at most ${MAX_STRING_BYTES}`);
    return r.text(length);
  },
};

/** A fixed number of raw bytes, without a length word. */
export const opaque = (length: number): Codec<Buffer> => ({
  minBytes: (length + 3) & ~3,
  write(w, value) {
    if (value.length !== length) throw new XdrError(`${value.length} bytes where ${length} are due`);
    w.bytes(value);
  },
  read: (r) => Buffer.from(r.bytes(length)),
});

/** Raw bytes of any length up to `max`. */
export const data = (max: number): Codec<Buffer> => ({
  minBytes: 4,
  write(w, value) {
    if (value.length > max) throw new XdrError(`${value.length} bytes; at most ${max}`);
    uint.write(w, value.length);
    w.bytes(value);
  },
  read(r) {
    const length = uint.read(r);
    if (length > max) throw new XdrError(`${length} bytes; at most ${max}`);
    return Buffer.from(r.bytes(length));
  },
});

/** All that is left, as it came: whoever asked for it reads it. */
export const rest: Codec<Buffer> = {
  minBytes: 0,
  write: (w, value) => w.bytes(value),
  read: (r) => r.bytes(r.remaining),
};

export const optional = <T>(item: Codec<T>): Codec<T | undefined> => ({
  minBytes: 4,
  write(w, value) {
    uint.write(w, value === undefined ? 0 : 1);
    if (value !== undefined) item.write(w, value);
  },
  read(r) {
    const flag = uint.read(r);
    if (flag > 1) throw new XdrError(`presence flag ${flag}`);
    return flag === 1 ? item.read(r) : undefined;
  },
});

export const array = <T>(item: Codec<T>, max: number): Codec<readonly T[]> => ({
  minBytes: 4,
  write(w, values) {
    if (values.length > max) throw new XdrError(`${values.length} elements; at most ${max}`);
    uint.write(w, values.length);
    for (const v of values) item.write(w, v);
  },
  read(r) {
    const count = uint.read(r);
    if (count > max || count * item.minBytes > r.remaining) throw new XdrError(`${count} elements announced`);
    const values: T[] = [];
    for (let i = 0; i < count; i++) values.push(item.read(r));
    return values;
  },
});

type Fields = Readonly<Record<string, Codec<never>>>;
type StructOf<F> = { readonly [K in keyof F]: TypeOf<F[K]> };

/** Members in the order they are written down here. */
export function struct<F extends { readonly [K in keyof F]: Codec<never> | Codec<unknown> }>(
  fields: F,
): Codec<StructOf<F>> {
  const entries = Object.entries(fields as unknown as Fields);
  return {
    minBytes: entries.reduce((sum, [, c]) => sum + c.minBytes, 0),
    write(w, value) {
      for (const [name, codec] of entries) codec.write(w, (value as Record<string, never>)[name] as never);
    },
    read(r) {
      const out: Record<string, unknown> = {};
      for (const [name, codec] of entries) out[name] = codec.read(r);
      return out as StructOf<F>;
    },
  };
}
