/**
 * One table in memory: values by key, with unique and plain indexes. Writing goes through the journal of the running
 * update. Which tables there are, and with which indexes, is tables.ts's.
 */
import { alreadyExists } from '@berth/shared/errors/cluster-error.ts';
import type { Journal } from './journal.ts';
import { SortedKeys } from './sorted-keys.ts';
import type { TableName } from './state.ts';

/** An index from strings found in a value to the keys of the values that have them. */
export interface Index<V> {
  readonly of: (v: V) => readonly (string | undefined)[];
  /** Makes it unique; words for the refusal. */
  readonly taken?: (indexed: string, by: V) => string;
}

export class MemTable<V extends object> {
  readonly #rows = new Map<string, V>();
  readonly #maps: KeyMap[];
  /** Built on first use, then kept. */
  #keys: SortedKeys | undefined;
  #version = 0;

  constructor(
    readonly name: TableName,
    readonly keyOf: (v: V) => string,
    private readonly indexes: readonly Index<V>[],
    private readonly journal: Journal<TableName>,
  ) {
    this.#maps = indexes.map(() => new Map());
  }

  get size(): number {
    return this.#rows.size;
  }

  get version(): number {
    return this.#version;
  }

  get(key: string): V | undefined {
    return this.#rows.get(key);
  }

  *values(): IterableIterator<V> {
    for (let page = this.keys().after(undefined, 256); page.length > 0; page = this.keys().after(page.at(-1), 256)) {
      for (const key of page) {
        const v = this.#rows.get(key);
        if (v) yield v;
      }
    }
  }

  put(value: V): void {
    this.#write(this.keyOf(value), value);
  }

  delete(key: string): void {
    if (this.#rows.has(key)) this.#write(key, undefined);
  }

  /** Fills the table from the durable engine. */
  load(values: readonly V[]): void {
    for (const v of values) this.#apply(this.keyOf(v), v);
  }

  /** Drops a value from memory only. */
  evict(key: string): void {
    this.#apply(key, undefined);
  }

  protected keys(): SortedKeys {
    this.#keys ??= SortedKeys.from(this.#rows.keys());
    return this.#keys;
  }

  protected onChange(_before: V | undefined, _after: V | undefined): void {}

  protected find(index: number, indexed: string): V[] {
    return keysOf(this.#maps[index]!, indexed).map((k) => this.#rows.get(k)!);
  }

  protected findOne(index: number, indexed: string): V | undefined {
    const keys = this.#maps[index]!.get(indexed);
    const key = keys instanceof Set ? first(keys) : keys;
    return key === undefined ? undefined : this.#rows.get(key);
  }

  protected indexed(index: number): IterableIterator<string> {
    return this.#maps[index]!.keys();
  }

  #write(key: string, value: V | undefined): void {
    const before = this.#rows.get(key);
    if (value) this.#refuseTaken(key, value);
    this.journal.record(() => this.#apply(key, before));
    this.journal.touch(this.name, key, before);
    this.#apply(key, value);
  }

  #refuseTaken(key: string, value: V): void {
    this.indexes.forEach(({ of, taken }, i) => {
      if (!taken) return;
      for (const s of of(value)) {
        if (s === undefined) continue;
        for (const other of keysOf(this.#maps[i]!, s)) {
          if (other !== key) throw alreadyExists(taken(s, this.#rows.get(other)!));
        }
      }
    });
  }

  #apply(key: string, value: V | undefined): void {
    const before = this.#rows.get(key);
    this.#version++;
    if (value) this.#rows.set(key, value);
    else this.#rows.delete(key);
    if (!before && value) this.#keys?.add(key);
    if (before && !value) this.#keys?.delete(key);
    this.#reindex(key, before, value);
    this.onChange(before, value);
  }

  #reindex(key: string, before: V | undefined, after: V | undefined): void {
    for (let i = 0; i < this.indexes.length; i++) {
      const { of } = this.indexes[i]!;
      const map = this.#maps[i]!;
      if (before) for (const s of of(before)) if (s !== undefined) unlink(map, s, key);
      if (after) for (const s of of(after)) if (s !== undefined) link(map, s, key);
    }
  }
}

/** Most indexed strings have one key: that one is kept without a set around it (300,000 VMs have a million of them). */
type KeyMap = Map<string, string | Set<string>>;

function keysOf(map: KeyMap, indexed: string): readonly string[] {
  const keys = map.get(indexed);
  if (keys === undefined) return [];
  return typeof keys === 'string' ? [keys] : [...keys];
}

function first(keys: ReadonlySet<string>): string | undefined {
  for (const key of keys) return key;
  return undefined;
}

function link(map: KeyMap, indexed: string, key: string): void {
  const keys = map.get(indexed);
  if (keys === undefined) map.set(indexed, key);
  else if (typeof keys !== 'string') keys.add(key);
  else if (keys !== key) map.set(indexed, new Set([keys, key]));
}

function unlink(map: KeyMap, indexed: string, key: string): void {
  const keys = map.get(indexed);
  if (keys === key) map.delete(indexed);
  else if (keys instanceof Set && keys.delete(key) && keys.size === 0) map.delete(indexed);
}

interface Named {
  readonly name: string;
}

/** A table whose values have a unique name; its first index is the name. */
export class NamedMemTable<V extends object & Named> extends MemTable<V> {
  #names: SortedKeys | undefined;

  byName(name: string): V | undefined {
    return this.findOne(0, name);
  }

  afterName(name: string, limit: number): readonly V[] {
    this.#names ??= SortedKeys.from(this.indexed(0));
    return this.#names.after(name, limit).map((n) => this.findOne(0, n)!);
  }

  protected override onChange(before: V | undefined, after: V | undefined): void {
    if (before?.name === after?.name) return;
    if (before) this.#names?.delete(before.name);
    if (after) this.#names?.add(after.name);
  }
}
