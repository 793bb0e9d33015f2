/**
 * Job ca.rotate: new CAs come in beside the old ones, every host learns to trust them, then everybody gets certificates of
 * the new ones, and the old ones go. Hosts that stay away longer than the job's patience are left behind, by name.
 */
import { formatDuration } from '@berth/shared/units/duration.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type RemoteContext } from './engine/define.ts';

export interface RotateParams {
  readonly overlapMs: number;
  readonly patienceMs: number;
}

interface Begun {
  readonly begin: { readonly atMs: number };
}
type Remote = RemoteContext<RotateParams, Begun, JobDeps>;

const LOOK_AGAIN_MS = 1_000;

/** Those that are left behind, when it is time to go on. */
function waitFor(c: Remote, names: readonly string[], why: string): { left: readonly string[] } | Wait {
  const patient = c.nowMs < c.outs.begin.atMs + c.params.patienceMs && !c.deps.ca.hurried();
  if (names.length > 0 && patient) return wait(LOOK_AGAIN_MS, `${why}: ${some(names)}`);
  return { left: [...names].sort() };
}

const some = (names: readonly string[]): string =>
  [...names].sort().slice(0, 8).join(', ') + (names.length > 8 ? ` and ${names.length - 8} more` : '');

const describeLeft = (out: { left: readonly string[] }): string =>
  out.left.length > 0 ? `left behind: ${some(out.left)}` : 'all hosts';

export const caRotate = defineJob<RotateParams, JobDeps>('ca.rotate', 1)
  .local('begin', { run: ({ nowMs }) => ({ atMs: nowMs }) })
  .remote('make', {
    run: async (c) => {
      await c.deps.ca.begin(c.jobId);
      return null;
    },
    undo: (c) => c.deps.ca.abandon(c.jobId),
  })
  .remote('tell', {
    run: async (c) => waitFor(c, c.deps.ca.untold(), 'these hosts have not learnt of the new CA'),
    describe: describeLeft,
  })
  .pointOfNoReturn()
  .remote('issue', {
    run: async (c) => {
      await c.deps.ca.issue(c.jobId);
      return null;
    },
  })
  .remote('reissue', {
    async run(c) {
      const out = waitFor(c, c.deps.ca.unissued(), 'these hosts have certificates of the old CA still');
      const leftMs = c.outs.begin.atMs + c.params.overlapMs - c.nowMs;
      if (Wait.is(out) || leftMs <= 0 || c.deps.ca.hurried()) return out;
      const overlap = formatDuration(c.params.overlapMs);
      return wait(Math.min(leftMs, LOOK_AGAIN_MS), `old and new CA are both trusted for ${overlap}, for command lines`);
    },
    describe: describeLeft,
  })
  .remote('retire', {
    run: async (c) => {
      await c.deps.ca.finish(c.jobId);
      return null;
    },
  })
  .local('record', {
    run({ tx, outs, jobId }) {
      const left = [...new Set([...outs.tell.left, ...outs.reissue.left])].filter((name) => tx.hosts.byName(name));
      const behind = left.length > 0 ? `; left behind, to be enrolled again (berth host re-enroll): ${some(left)}` : '';
      tx.event({
        type: 'ca.rotated',
        severity: left.length > 0 ? 'warning' : 'info',
        subjectKind: 'controller',
        subject: 'ca',
        message: `the CAs were replaced by new ones${behind}`,
        jobId,
      });
      return null;
    },
  })
  .build();
