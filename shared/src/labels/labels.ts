/** Labels of VMs and hosts: what they may look like. Pure. */
import { invalidArgument } from '../errors/cluster-error.ts';

const KEY = /^[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
/** Lists, logs and other people's terminals show values as they are. */
const CONTROL = /\p{Cc}/u;
const MOST = 64;
const LONGEST_VALUE = 255;

export const isLabelKey = (key: string): boolean => KEY.test(key);

/** @param what the object, for the words of the refusal: `a vm`. */
export function checkLabels(what: string, labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(labels);
  if (entries.length > MOST) throw invalidArgument(`${what} can have ${MOST} labels, not ${entries.length}`);
  for (const [k, v] of entries)
    if (!isLabelKey(k) || v.length > LONGEST_VALUE || CONTROL.test(v))
      throw invalidArgument(`${JSON.stringify(`${k}=${v}`.slice(0, 80))} is not a label: write it like zone=b`);
  return { ...labels };
}
