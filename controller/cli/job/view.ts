/** berth job list, show. The step log is what people look at when something hangs. */
import { formatAge, formatDuration } from '@berth/shared/units/duration.ts';
import type { Job, JobStep } from '@berth/proto/v1/job.ts';
import { alarmLines } from '../alarm/alarm.ts';
import { count, OUTPUT, yes, type Command } from '../core/command.ts';
import { jobStateWord, shortDigest, stepStateWord } from '../core/words.ts';
import { remark, renderEach, renderList } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { progress } from './follow.ts';

export type JobView = Omit<Job, 'state' | 'steps'> & {
  state: string;
  steps: (Omit<JobStep, 'state'> & { state: string })[];
};
export const jobView = (j: Job): JobView => ({
  ...j,
  state: jobStateWord(j.state),
  steps: j.steps.map((s) => ({ ...s, state: stepStateWord(s.state) })),
});

const columns = (nowMs: number, idLength: number, rows: readonly JobView[]): Column<JobView>[] => [
  { title: 'JOB', cell: (j) => j.id.slice(0, idLength) },
  { title: 'KIND', cell: (j) => j.kind },
  { title: 'SUBJECT', cell: (j) => j.subject },
  { title: 'STATE', cell: (j) => j.state },
  {
    title: 'TOOK',
    cell: (j) => formatDuration(Number(j.endedAtMs || BigInt(nowMs)) - Number(j.createdAtMs)),
    right: true,
  },
  { title: 'AGE', cell: (j) => formatAge(nowMs - Number(j.createdAtMs)), right: true },
  { title: 'USER', cell: (j) => j.user, wide: true },
  { title: 'ID', cell: (j) => j.id, wide: true },
  ...remark(rows, (j) => firstLine(j.error || j.waitReason)),
];

const firstLine = (text: string): string => text.split('\n')[0] ?? '';

export const jobList: Command = {
  noun: 'job',
  verb: 'list',
  summary: 'list jobs, newest first',
  args: [],
  flags: [
    OUTPUT,
    { spec: '--open', description: 'only those that have not ended' },
    { spec: '--limit <n>', description: 'how many (default 20)' },
  ],
  async run(ctx, _args, flags) {
    const api = await ctx.api();
    const pageSize = count(flags, 'limit', 20);
    const r = await api.call(api.jobs, (c) => c.listJobs, {
      page: { pageSize, pageToken: '' },
      openOnly: yes(flags, 'open'),
    });
    const rows = r.jobs.map(jobView);
    renderList(ctx, flags, {
      rows,
      columns: columns(ctx.clock.now(), telling(rows.map((j) => j.id)), rows),
      name: (j) => j.id,
      empty: 'no jobs',
    });
  },
};

export const jobShow: Command = {
  noun: 'job',
  verb: 'show',
  summary: 'show jobs with their step log',
  args: [{ name: 'jobs', description: 'jobs to show', required: true, many: true, kind: 'job' }],
  flags: [OUTPUT],
  async run(ctx, ids, flags) {
    const api = await ctx.api();
    await renderEach(ctx, flags, {
      names: ids,
      get: async (job) => jobView(await api.call(api.jobs, (c) => c.getJob, { job })),
      name: (j) => j.id,
      lines: async (j) => [...jobLines(j, ctx.clock.now()), ...(await alarmLines(api, 'job', j.id, ctx.clock.now()))],
    });
  },
};

const MARK: Readonly<Record<string, string>> = {
  pending: '○',
  running: '●',
  succeeded: '✔',
  failed: '✘',
  undoing: '↺',
  undone: '↩',
  'undo-failed': '‼',
};
/** Longer details push their time to the right. */
const DETAIL_WIDTH = 48;

/** The job as ux.md shows it: a headline, a line per step, and what can be done. */
export function jobLines(j: JobView, nowMs: number): string[] {
  const took = formatDuration(Number(j.endedAtMs || BigInt(nowMs)) - Number(j.createdAtMs));
  const advice: Record<string, string> = {
    running: `cancel: berth job cancel ${j.id}`,
    waiting: `cancel: berth job cancel ${j.id}`,
    stuck: `try the undo again: berth job retry ${j.id}    leave it as it is: berth job accept ${j.id}`,
  };
  return [
    `${`${j.kind} ${j.subject}`.padEnd(26)} ${j.state} ${took}`,
    ...stepLines(j.steps),
    ...(j.waitReason ? [`waits: ${j.waitReason}`] : []),
    ...(j.error ? [`error: ${j.error.split('\n').join('\n       ')}`] : []),
    ...(advice[j.state] ? [advice[j.state] ?? ''] : []),
  ];
}

function stepLines(steps: JobView['steps']): string[] {
  const details = steps.map(({ state, detail, ...bytes }) =>
    [detail.replace(/sha256:[0-9a-f]{64}/, shortDigest), state === 'running' ? progress(bytes) : '']
      .filter(Boolean)
      .join(', '),
  );
  const titles = steps.map((s) => (s.partOf === undefined ? s.name : `  ${s.name}`));
  const names = Math.max(4, ...titles.map((t) => t.length));
  const width = Math.min(DETAIL_WIDTH, Math.max(...details.map((d) => d.length)));
  return steps.map((s, i) => {
    const ms = s.endedAtMs > 0n && s.startedAtMs > 0n ? formatDuration(Number(s.endedAtMs - s.startedAtMs)) : '';
    return `  ${MARK[s.state] ?? '?'} ${(titles[i] ?? '').padEnd(names)}  ${(details[i] ?? '').padEnd(width)}  ${ms.padStart(6)}`.trimEnd();
  });
}

/** job- and the ten letters of the time. */
const SHORTEST_ID = 14;

/** How much of these ids tells them apart. Commands take the beginning of an id. */
export function telling(ids: readonly string[]): number {
  let length = SHORTEST_ID;
  while (new Set(ids.map((id) => id.slice(0, length))).size < ids.length) length++;
  return length;
}
