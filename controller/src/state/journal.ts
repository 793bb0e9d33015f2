/** What one update has changed, so that it can be taken back. A table may be written only while a journal is open. */
export class Journal<T extends string> {
  #open = false;
  #undo: (() => void)[] = [];
  #touched = new Map<T, Set<string>>();
  #before = new Map<string, unknown>();

  get isOpen(): boolean {
    return this.#open;
  }

  begin(): void {
    this.#open = true;
    this.#undo = [];
    this.#touched = new Map();
    this.#before = new Map();
  }

  /** Throws outside an update; otherwise remembers how to take a step back. */
  record(undo: () => void): void {
    if (!this.#open) throw new Error('BUG: the state was written outside state.update()');
    this.#undo.push(undo);
  }

  /** @param before the value that a put or delete replaces. */
  touch(table: T, key: string, before: unknown): void {
    const keys = this.#touched.get(table);
    if (!keys?.has(key)) this.#before.set(`${table}/${key}`, before);
    if (keys) keys.add(key);
    else this.#touched.set(table, new Set([key]));
  }

  /** What the row was when the update began. */
  before(table: T, key: string): unknown {
    return this.#before.get(`${table}/${key}`);
  }

  get touched(): ReadonlyMap<T, ReadonlySet<string>> {
    return this.#touched;
  }

  get isEmpty(): boolean {
    return this.#undo.length === 0;
  }

  end(): void {
    this.#open = false;
  }

  rollback(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#open = false;
  }
}
