/** Alarms as people ask for them. Pure reads; what raises them is controller/src/alarms. */
import type { Alarm } from '@berth/shared/model/alarm.ts';
import type { Tables } from '../state/state.ts';

/** Critical ones first, then the oldest first. Empty: all. */
export function listAlarms(
  { alarms }: Pick<Tables, 'alarms'>,
  q: { readonly subjectKind: string; readonly subject: string },
): Alarm[] {
  const wanted = (a: Alarm) =>
    (q.subjectKind === '' || a.subjectKind === q.subjectKind) && (q.subject === '' || a.subject === q.subject);
  const weight = (a: Alarm) => (a.severity === 'critical' ? 0 : 1);
  return [...alarms.values()].filter(wanted).sort((a, b) => weight(a) - weight(b) || a.sinceMs - b.sinceMs);
}
