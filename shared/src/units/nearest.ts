/** Names that were spelt nearly so, for "did you mean". Pure. */

/** At most three, the nearest first; letters in the wrong case count for nothing. */
export function nearest(wanted: string, known: readonly string[]): readonly string[] {
  const word = wanted.slice(0, 80).toLowerCase();
  const most = Math.max(1, Math.floor(word.length / 3));
  return known
    .map((name) => ({ name, off: distance(name.toLowerCase(), word) }))
    .filter((n) => n.off <= most)
    .sort((a, b) => a.off - b.off || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map((n) => n.name);
}

/** How many letters to change, add, leave out, or swap with the next. */
function distance(a: string, b: string): number {
  let [before, row] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? (before[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min((row[j - 1] ?? 0) + (same ? 0 : 1), (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, swap));
    }
    [before, row] = [row, next];
  }
  return row[b.length] ?? 0;
}
