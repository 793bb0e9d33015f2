/** AlarmService: what is wrong now. */
import type { AlarmServiceService } from '@berth/proto/v1/alarm.ts';
import { listAlarms } from '../app/alarms.ts';
import type { State } from '../state/state.ts';
import type { Handlers } from './call.ts';
import { toWire } from './numbers.ts';
import type { Scope } from './scope.ts';

export const alarmHandlers = (state: State, scope: Scope): Handlers<AlarmServiceService> => ({
  listAlarms: (r, call) => ({
    alarms: listAlarms(state.tables, r)
      .filter((a) => scope.seesAlarm(call, a))
      .map((a) => ({ ...a, sinceMs: toWire(a.sinceMs) })),
  }),
});
