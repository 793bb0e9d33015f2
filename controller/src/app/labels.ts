/** Changing the labels of a VM or host: some set, some removed, all checked. Pure. */
import { invalidArgument } from '@berth/shared/errors/cluster-error.ts';
import { checkLabels } from '@berth/shared/labels/labels.ts';
import type { Labels } from '@berth/shared/labels/selector.ts';

export type { Labels };

export interface LabelChange {
  readonly set: Labels;
  readonly remove: readonly string[];
}

/** @param what for the words of a refusal: `a vm`. */
export function relabel(what: string, before: Labels, { set, remove }: LabelChange): Labels {
  if (Object.keys(set).length === 0 && remove.length === 0)
    throw invalidArgument('which labels? Give key=value to set one, key- to remove one');
  const both = remove.find((k) => Object.hasOwn(set, k));
  if (both !== undefined) throw invalidArgument(`label ${both.slice(0, 80)} can't be both set and removed`);
  const kept = Object.entries(before).filter(([k]) => !remove.includes(k));
  return checkLabels(what, { ...Object.fromEntries(kept), ...set });
}
