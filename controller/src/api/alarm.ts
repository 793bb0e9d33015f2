/** AlarmService: what is wrong now. */
import type { AlarmServiceService } from '@berth/proto/v1/alarm.ts';
import { listAlarms } from '../app/alarms.ts';
import type { State } from '../state/state.ts';
import type { Handlers } from './call.ts';
import { toWire } from './numbers.ts';

export const alarmHandlers = (state: State): Handlers<AlarmServiceService> => ({
  listAlarms: (r) => ({
    alarms: listAlarms(state.tables, r).map((a) => ({ ...a, sinceMs: toWire(a.sinceMs) })),
  }),
});
