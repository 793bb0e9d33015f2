/** Drives one job as far as it will go now: called when it starts, after each wait, and after a restart alike. */
import { isEnded, type Job } from '@berth/shared/model/job.ts';
import type { At, DriveEnv, Outcome } from './at.ts';
import { stepBack } from './backward.ts';
import type { AnyJobDef } from './define.ts';
import { stepForward } from './forward.ts';
import type { LiveJob } from './live.ts';
import { nextMove, readLog } from './log.ts';
import { endWhenDone } from './record.ts';

export async function drive(env: DriveEnv, jobId: Job['id'], def: AnyJobDef, live: LiveJob): Promise<Outcome> {
  live.waitsForHost = undefined;
  for (;;) {
    const job = env.state.tables.jobs.get(jobId);
    if (!job || isEnded(job.state)) return { type: 'ended' };
    if (job.state === 'stuck') return { type: 'stuck' };
    if (env.stopping()) return { type: 'stopped' };
    const jobRecord = readLog(env.state.jobLog(jobId));
    const move = nextMove(def, jobRecord);
    if (move.type === 'end') {
      await env.state.update((tx) => endWhenDone(env, tx, def, job));
      continue;
    }
    const at: At = { env, def, job, jobRecord, step: move.step, record: move.record, live };
    const outcome = await (move.type === 'run' ? stepForward(at) : stepBack(at));
    if (outcome) return outcome;
  }
}
