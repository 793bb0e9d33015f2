/** What would change, as lines for people. */
import type { Change, Plan } from './kind.ts';

export function planLines(plan: Plan): readonly string[] {
  const label = `${plan.noun} ${plan.name}`;
  if (plan.what === 'nothing') return [`${label}: as it shall be`];
  const where = plan.where ? ` on ${plan.where}` : '';
  if (plan.what === 'create') return [`${label}: to be made${where}`, ...changeLines(plan.changes)];
  return [`${label}:`, ...changeLines(plan.changes)];
}

export function changeLines(changes: readonly Change[]): readonly string[] {
  const width = Math.max(0, ...changes.map((c) => c.field.length));
  const values = changes.map((c) => `${c.before || '-'} → ${c.after || '-'}`);
  const wide = Math.max(0, ...changes.map((c, i) => (c.atNextStart ? (values[i]?.length ?? 0) : 0)));
  return changes.map((c, i) => {
    const value = values[i] ?? '';
    return `  ${c.field.padEnd(width)}  ${c.atNextStart ? `${value.padEnd(wide)}  at its next start` : value}`;
  });
}
