/** Works on many small things, a few at a time, so that a machine with thousands of devices costs no thousands of open files. */
const AT_ONCE = 16;

/** In the order given; what `work` finds nothing in is left out. */
export async function each<T, R>(items: readonly T[], work: (item: T) => Promise<R | undefined>): Promise<R[]> {
  const results: (R | undefined)[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as T);
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, worker));
  return results.filter((r) => r !== undefined);
}
