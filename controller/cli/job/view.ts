/** berth job list, show. The step log is what people look at when something hangs. */
import { formatAge, formatDuration } from '@berth/shared/units/duration.ts';
import { StepState, type Job, type JobStep } from '@berth/proto/v1/job.ts';
import { OUTPUT, text, yes, type Command } from '../core/command.ts';
import { print } from '../core/context.ts';
import { jobStateWord, stepStateWord } from '../core/words.ts';
import { format, renderList, renderOne } from '../output/render.ts';
import type { Column } from '../output/table.ts';
import { progress } from './follow.ts';

type View = Omit<Job, 'state' | 'steps'> & { state: string; steps: (Omit<JobStep, 'state'> & { state: string })[] };
export const jobView = (j: Job): View => ({
  ...j,
  state: jobStateWord(j.state),
  steps: j.steps.map((s) => ({ ...s, state: stepStateWord(s.state) })),
});

const columns = (nowMs: number): Column<View>[] => [
  { title: 'ID', cell: (j) => j.id },
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
  { title: '', cell: (j) => j.error || j.waitReason || ' ' },
];

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
    const pageSize = Number(text(flags, 'limit') ?? '20') || 20;
    const r = await api.call(api.jobs, (c) => c.listJobs, {
      page: { pageSize, pageToken: '' },
      openOnly: yes(flags, 'open'),
    });
    renderList(ctx, flags, {
      rows: r.jobs.map(jobView),
      columns: columns(ctx.clock.now()),
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
    for (const [i, id] of ids.entries()) {
      const job = await api.call(api.jobs, (c) => c.getJob, { job: id });
      if (i > 0 && ['table', 'wide'].includes(format(flags))) print(ctx, '');
      renderOne(ctx, flags, { row: jobView(job), name: job.id, lines: () => jobLines(job, ctx.clock.now()) });
    }
  },
};

const MARK: Readonly<Partial<Record<StepState, string>>> = {
  [StepState.PENDING]: '○',
  [StepState.RUNNING]: '●',
  [StepState.SUCCEEDED]: '✔',
  [StepState.FAILED]: '✘',
  [StepState.UNDOING]: '↺',
  [StepState.UNDONE]: '↩',
  [StepState.UNDO_FAILED]: '‼',
};

/** The job as ux.md shows it: a headline, a line per step, and what can be done. */
export function jobLines(j: Job, nowMs: number): string[] {
  const width = Math.max(...j.steps.map((s) => s.name.length), 4);
  const took = formatDuration(Number(j.endedAtMs || BigInt(nowMs)) - Number(j.createdAtMs));
  const state = jobStateWord(j.state);
  const steps = j.steps.map((s) => {
    const ms = s.endedAtMs > 0n && s.startedAtMs > 0n ? formatDuration(Number(s.endedAtMs - s.startedAtMs)) : '';
    return `  ${MARK[s.state] ?? '?'} ${s.name.padEnd(width)}  ${`${s.detail}${s.state === StepState.RUNNING ? progress(s) : ''}`.padEnd(40)} ${ms}`.trimEnd();
  });
  const advice: Record<string, string> = {
    running: `cancel: berth job cancel ${j.id}`,
    waiting: `cancel: berth job cancel ${j.id}`,
    stuck: `try the undo again: berth job retry ${j.id}    leave it as it is: berth job accept ${j.id}`,
  };
  return [
    `${`${j.kind} ${j.subject}`.padEnd(26)} ${state} ${took}`,
    ...steps,
    ...(j.waitReason ? [`waits: ${j.waitReason}`] : []),
    ...(j.error ? [`error: ${j.error.split('\n').join('\n       ')}`] : []),
    ...(advice[state] ? [advice[state]] : []),
  ];
}
