/** Waits until a job has begun a step. */
import type { JobId } from '@berth/shared/model/ids.ts';
import type { State } from '../state/state.ts';

/** @param open false: it will not any more, and nobody needs to wait */
export async function untilBegun(state: State, jobId: JobId, step: string, open: () => boolean): Promise<void> {
  const begun = (): boolean => state.jobLog(jobId).some((e) => e.step === step);
  await new Promise<void>((resolve) => {
    if (begun() || !open()) return resolve();
    const stop = state.subscribe(() => {
      if (!begun() && open()) return;
      stop();
      resolve();
    });
  });
}
