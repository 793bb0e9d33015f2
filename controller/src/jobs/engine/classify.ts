/** What a thrown error means to a step: wait and try again, or fail. And the words that are stored of it. Pure. */
import { chain, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { REASONS } from '@berth/shared/errors/reasons.ts';
import type { JobError } from '@berth/shared/model/job.ts';
import type { AnyStep } from './define.ts';

/** How another job ended: final, whatever its reason says of trying again, for that was done there. */
export class OtherJobFailed extends ClusterError {}

/** `unknown`: the host may or may not have done it; ask again with the same operation id. */
export type Verdict = 'unknown' | 'later' | 'failed';

export function judge(e: unknown, step: Pick<AnyStep, 'waitOn' | 'failOn'>): Verdict {
  if (!isClusterError(e) || e instanceof OtherJobFailed || step.failOn.includes(e.reason)) return 'failed';
  const { retry } = REASONS[e.reason];
  if (retry === 'same-request') return 'unknown';
  return retry === 'later' && step.waitOn.includes(e.reason) ? 'later' : 'failed';
}

export const toJobError = (e: unknown): JobError => ({
  reason: isClusterError(e) ? e.reason : 'INTERNAL',
  message: chain(e),
  meta: isClusterError(e) ? e.meta : {},
});

/** Half a second, doubled at each try, at most half a minute; jittered so that jobs don't come in step. */
export function backOffMs(tries: number, random: number): number {
  const ms = Math.min(30_000, 500 * 2 ** Math.min(tries - 1, 16));
  return Math.round(ms * (0.75 + random / 2));
}
