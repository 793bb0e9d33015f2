/** What one update has changed, so that it can be taken back. A table may be written only while a journal is open. */
export class Journal<T extends string> {
  #open = false;
  #undo: (() => void)[] = [];
  #touched = new Map<T, Set<string>>();

  get isOpen(): boolean {
    return this.#open;
  }

  begin(): void {
    this.#open = true;
    this.#undo = [];
    this.#touched = new Map();
  }

  /** Throws outside an update; otherwise remembers how to take a step back. */
  record(undo: () => void): void {
    if (!this.#open) throw new Error('BUG: the state was written outside state.update()');
    this.#undo.push(undo);
  }

  touch(table: T, key: string): void {
    const keys = this.#touched.get(table);
    if (keys) keys.add(key);
    else this.#touched.set(table, new Set([key]));
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
