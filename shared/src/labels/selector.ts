/** Label selectors: `team=a,tier!=db,zone,!gpu`; all parts must hold. Pure. What labels may look like is labels.ts's. */
import { invalidArgument } from '../errors/cluster-error.ts';
import { isLabelKey } from './labels.ts';

export type Labels = Readonly<Record<string, string>>;
export type Selector = (labels: Labels) => boolean;

const PART = /^(!?)([^=!]+?)(?:(!?=)(.*))?$/;
const MOST_PARTS = 32;

/** INVALID_ARGUMENT names the part that is none. The empty text fits everything. */
export function parseSelector(text: string): Selector {
  if (text.trim() === '') return () => true;
  const parts = text.split(',');
  if (parts.length > MOST_PARTS) throw invalidArgument(`a selector has at most ${MOST_PARTS} parts`);
  const tests = parts.map((p) => parsePart(p.trim()));
  return (labels) => tests.every((fits) => fits(labels));
}

function parsePart(part: string): Selector {
  const [, not, key = '', operator, value = ''] = PART.exec(part) ?? [];
  if (!isLabelKey(key) || value.length > 255 || value.includes('=') || (not === '!' && operator !== undefined))
    throw invalidArgument(
      `${JSON.stringify(part.slice(0, 80))} selects nothing: write it like team=a, tier!=db, zone or !zone`,
    );
  const own = (labels: Labels): string | undefined => (Object.hasOwn(labels, key) ? labels[key] : undefined);
  if (not === '!') return (labels) => own(labels) === undefined;
  if (operator === undefined) return (labels) => own(labels) !== undefined;
  return operator === '=' ? (labels) => own(labels) === value : (labels) => own(labels) !== value;
}
