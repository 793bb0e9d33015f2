/** Which hosts a job's steps have worked on: those may forget its operations when it has ended. */
import type { HostId } from '@berth/shared/model/ids.ts';
import type { Job } from '@berth/shared/model/job.ts';
import type { State } from '../../state/state.ts';
import type { AnyJobDef, EngineDeps, StepContext } from './define.ts';
import { readLog } from './log.ts';

export function hostsOf(def: AnyJobDef, job: Job, state: State, deps: EngineDeps): ReadonlySet<HostId> {
  const record = readLog(state.jobLog(job.id));
  const hosts = new Set<HostId>();
  for (const step of def.steps) {
    const r = record.steps.get(step.name);
    if (!step.host || !r || r.started.skipped) continue;
    const opId = `${job.id}.${step.name}`;
    const c: StepContext<unknown, object, unknown> = {
      jobId: job.id,
      params: job.params,
      outs: record.outs,
      deps,
      tables: state.tables,
      opId,
      undoOpId: `${opId}.undo`,
      nowMs: job.endedAtMs ?? 0,
      attempt: 1,
    };
    const host = hostOf(step.host as unknown as (c: unknown) => HostId | undefined, c);
    if (host !== undefined) hosts.add(host);
  }
  return hosts;
}

/** The objects that a step's `host` looks at may be gone by the end of the job. */
function hostOf(host: (c: unknown) => HostId | undefined, c: unknown): HostId | undefined {
  try {
    return host(c);
  } catch {
    return undefined;
  }
}
