/** The order of a job's events, and what comes next. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JobEvent, JobEventType } from '@berth/shared/model/job.ts';
import { backOffMs, judge, OtherJobFailed } from './classify.ts';
import { defineJob } from './define.ts';
import { nextMove, readLog } from './log.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

const def = defineJob<object, object>('j', 1)
  .local('a', { run: () => 1 })
  .remote('b', { run: async () => 2 })
  .build();
const error = { reason: 'INTERNAL', message: 'no', meta: {} };
const events = (...all: readonly [string, JobEventType][]): JobEvent[] =>
  all.map(([step, type]) => ({
    step,
    type,
    atMs: 1,
    ...(type === 'failed' || type === 'undo_failed' ? { data: error } : {}),
  }));
const next = (...all: readonly [string, JobEventType][]): string => {
  const m = nextMove(def, readLog(events(...all)));
  return m.type === 'end' ? 'end' : `${m.type} ${m.step.name}`;
};

test('a job goes forwards step by step, and back from the step that failed', () => {
  expect(next()).toBe('run a');
  expect(next(['a', 'started'])).toBe('run a');
  expect(next(['a', 'started'], ['a', 'succeeded'])).toBe('run b');
  const failed = [
    ['a', 'started'],
    ['a', 'succeeded'],
    ['b', 'started'],
    ['b', 'failed'],
  ] as const;
  expect(next(...failed.map((e) => [...e] as [string, JobEventType]))).toBe('undo b');
  const undone = [...failed, ['b', 'undo_started'], ['b', 'undo_finished']] as const;
  expect(next(...undone.map((e) => [...e] as [string, JobEventType]))).toBe('undo a');
});

test.each<[JobEventType, JobEventType]>([
  ['succeeded', 'succeeded'],
  ['succeeded', 'failed'],
  ['succeeded', 'started'],
  ['failed', 'succeeded'],
  ['undo_finished', 'undo_started'],
  ['started', 'undo_started'],
])('after %s, %s is refused', (before, after) => {
  const path: Partial<Record<JobEventType, JobEventType[]>> = {
    started: ['started'],
    succeeded: ['started', 'succeeded'],
    failed: ['started', 'failed'],
    undo_finished: ['started', 'failed', 'undo_started', 'undo_finished'],
  };
  const log = [...path[before]!, after].map((type) => ['a', type] as [string, JobEventType]);
  expect(() => readLog(events(...log))).toThrow(`BUG: ${after} after ${before}`);
});

test('only what may happen again by itself is a wait', () => {
  const step = { waitOn: ['PEER_UNAVAILABLE'], failOn: ['HYPERVISOR_UNAVAILABLE'] } as const;
  const of = (reason: ClusterError['reason']) => judge(new ClusterError(reason, 'x'), step);
  expect(of('HOST_UNREACHABLE')).toBe('unknown');
  expect(of('PEER_UNAVAILABLE')).toBe('later');
  expect(of('HYPERVISOR_UNAVAILABLE')).toBe('failed');
  expect(of('DISK_FULL')).toBe('failed');
  expect(judge(new Error('x'), step)).toBe('failed');
  // another job has waited for that already
  for (const reason of ['HOST_UNREACHABLE', 'RESOURCE_BUSY'] as const)
    expect(judge(new OtherJobFailed(reason, 'x'), step)).toBe('failed');
});

test('pauses grow and stay bounded', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e6 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, r) => {
      expect(backOffMs(n, r)).toBeGreaterThanOrEqual(375);
      expect(backOffMs(n, r)).toBeLessThanOrEqual(37_500);
    }),
  );
});
