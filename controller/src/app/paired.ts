/** Which of the parts that are wanted is which of those that are there. Pure. */

/**
 * First by what they are called, then those of which it is not said by their places.
 * @param same whether they are called the same. @param nameless whether it is not said what it is called.
 */
export function paired<W, B>(
  wanted: readonly W[],
  before: readonly B[],
  same: (w: W, b: B, i: number) => boolean,
  nameless: (w: W) => boolean,
): readonly (B | undefined)[] {
  const left = new Set(before);
  const take = (b: B | undefined): B | undefined => {
    if (b !== undefined) left.delete(b);
    return b;
  };
  const named = wanted.map((w, i) => take(before.find((b) => left.has(b) && same(w, b, i))));
  return wanted.map((w, i) => {
    if (named[i] !== undefined || !nameless(w)) return named[i];
    const there = before[i];
    return take(there !== undefined && left.has(there) ? there : [...left][0]);
  });
}
