/** berth alarm list, and the alarms of one object below what else is shown of it. */
import type { Alarm } from '@berth/proto/v1/alarm.ts';
import { formatAge } from '@berth/shared/units/duration.ts';
import type { Api } from '../core/api.ts';
import { OUTPUT, text, type Command } from '../core/command.ts';
import { renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';

const columns = (nowMs: number): Column<Alarm>[] => [
  { title: 'SEVERITY', cell: (a) => a.severity },
  { title: 'KIND', cell: (a) => a.kind },
  { title: 'FOR', cell: (a) => formatAge(nowMs - Number(a.sinceMs)), right: true },
  { title: 'WHAT', cell: (a) => a.message, prose: true },
  { title: 'SUBJECT', cell: (a) => `${a.subjectKind} ${a.subject}`, wide: true },
  { title: 'WHAT TO DO', cell: (a) => a.advice, wide: true },
];

const alarmList: Command = {
  noun: 'alarm',
  verb: 'list',
  summary: 'list what is wrong now',
  details: 'What to do about each stands in -o wide. When they came and went: berth event list',
  args: [],
  flags: [OUTPUT, { spec: '--subject <name>', description: 'only about this object' }],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const { alarms } = await api.call(api.alarms, (c) => c.listAlarms, {
      subjectKind: '',
      subject: text(flags, 'subject') ?? '',
    });
    const name = (a: Alarm) => `${a.kind} ${a.subject}`;
    renderList(ctx, flags, { rows: alarms, columns: columns(ctx.clock.now()), name, empty: 'no alarms' });
  },
};

export const alarmCommands: readonly Command[] = [alarmList];

/** Lines for people. */
export async function alarmLines(api: Api, subjectKind: string, subject: string, nowMs: number): Promise<string[]> {
  const { alarms } = await api.call(api.alarms, (c) => c.listAlarms, { subjectKind, subject });
  if (alarms.length === 0) return [];
  const lines = alarms.map(
    (a) => `  ${a.severity} for ${formatAge(nowMs - Number(a.sinceMs))}: ${a.message}\n    ${a.advice}`,
  );
  return ['alarms:', ...lines];
}
