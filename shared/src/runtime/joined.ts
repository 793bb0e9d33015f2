/**
 * Many who want the same costly thing done at the same time share one run of it. Who comes while one runs does not know what
 * that has seen, so he waits for the next, with all who come until that begins. Keeps no results.
 */

/** @param run may fail: all who share that run are told. */
export function joined(run: (key: string) => Promise<void>): (key: string) => Promise<void> {
  const runs = new Map<string, { readonly current: Promise<void>; next?: Promise<void> }>();
  const begin = (key: string): Promise<void> => {
    const entry: { readonly current: Promise<void>; next?: Promise<void> } = { current: run(key) };
    runs.set(key, entry);
    const end = (): void => {
      if (entry.next === undefined) runs.delete(key);
    };
    entry.current.then(end, end);
    return entry.current;
  };
  return (key) => {
    const entry = runs.get(key);
    if (!entry) return begin(key);
    return (entry.next ??= entry.current.catch(() => undefined).then(() => begin(key)));
  };
}
