/** Labels of a document beside those of an object. Pure. */
import type { Change } from './kind.ts';

type Labels = Readonly<Record<string, string>>;

export const labelChanges = (before: Labels, after: Labels): readonly Change[] =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((k) => before[k] !== after[k])
    .sort()
    .map((k) => ({ field: `labels.${k}`, before: before[k] ?? '', after: after[k] ?? '' }));

/** What to ask for; undefined when they are the same. */
export function relabelling(
  before: Labels,
  after: Labels,
): { set: Record<string, string>; remove: string[] } | undefined {
  const set = Object.fromEntries(Object.entries(after).filter(([k, v]) => before[k] !== v));
  const remove = Object.keys(before).filter((k) => !Object.hasOwn(after, k));
  return Object.keys(set).length === 0 && remove.length === 0 ? undefined : { set, remove };
}
