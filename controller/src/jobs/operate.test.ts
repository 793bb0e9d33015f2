import { expect, it } from 'vitest';
import type { OperationView } from '../hosts/agent-client.ts';
import { insist, known } from './operate.ts';

const view = (over: object): OperationView =>
  ({ id: 'job-1.copy', doneBytes: 0, totalBytes: 0, ...over }) as OperationView;
const failed = (reason: string) => view({ state: 'failed', error: { reason, message: 'x', meta: {} } });
const running = view({ state: 'running' });

async function tries(op: OperationView | undefined, notes: Map<string, unknown>): Promise<string[]> {
  const agent = { findOperation: async () => op };
  const states: string[] = [];
  for (let i = 0; i < 4; i++) states.push((await known(agent, 'job-1.copy', async () => running, notes)).state);
  return states;
}

it('a long operation that failed for what may pass is begun anew at the try after the one that heard of it', async () => {
  expect(await tries(failed('RESOURCE_BUSY'), new Map())).toEqual(['failed', 'running', 'failed', 'running']);
  expect(await tries(failed('INVALID_ARGUMENT'), new Map())).toEqual(['failed', 'failed', 'failed', 'failed']);
  expect(await tries(undefined, new Map())).toEqual(['running', 'running', 'running', 'running']);
});

it('what must succeed is asked for under a new id once for each time that it failed, and its failure is heard of', async () => {
  const asked: string[] = [];
  const ends: OperationView['state'][] = ['failed'];
  const ask = async (id: string): Promise<OperationView> => {
    if (!asked.includes(id)) asked.push(id);
    const state = ends[asked.indexOf(id)] ?? 'running';
    return state === 'failed' ? { ...failed('BAD_STATE'), id } : view({ state, id });
  };
  const notes = new Map<string, unknown>();
  let nowMs = 0;
  const look = () => insist({ attempt: 1, progress: () => undefined, nowMs: ++nowMs, notes }, 'undo', ask, 'waits');
  // it runs, however often somebody looks
  for (let i = 0; i < 3; i++) expect(await look()).toMatchObject({ why: 'waits' });
  expect(asked).toEqual(['undo', 'undo.1']);
  ends.push('failed');
  await expect(look()).rejects.toMatchObject({ reason: 'BAD_STATE' });
  expect(asked).toEqual(['undo', 'undo.1']);
  await look();
  ends.push('succeeded');
  expect(await look()).toMatchObject({ state: 'succeeded', id: 'undo.5' });
  expect(asked).toEqual(['undo', 'undo.1', 'undo.5']);
});
