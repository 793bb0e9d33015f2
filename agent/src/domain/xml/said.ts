/** Leaving out what is not said. */

type Said<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The same without what is undefined; undefined when nothing is left. */
export function said<T extends object>(value: T): Said<T> | undefined {
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as Said<T>);
}

/** The text if it is one of these words, and not the one that is meant when nothing is said. */
export const oneOf = <const T extends string>(
  words: readonly T[],
  text: string | undefined,
  unsaid?: T,
): T | undefined => words.find((w) => w === text && w !== unsaid);
