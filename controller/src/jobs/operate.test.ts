import { expect, it } from 'vitest';
import type { OperationView } from '../hosts/agent-client.ts';
import { known } from './operate.ts';

const view = (over: object): OperationView =>
  ({ id: 'job-1.copy', doneBytes: 0, totalBytes: 0, ...over }) as OperationView;
const failed = (reason: string) => view({ state: 'failed', error: { reason, message: 'x', meta: {} } });
const running = view({ state: 'running' });

async function tries(op: OperationView | undefined, notes?: Map<string, unknown>): Promise<string[]> {
  const agent = { findOperation: async () => op };
  const states: string[] = [];
  for (let i = 0; i < 4; i++) states.push((await known(agent, 'job-1.copy', async () => running, notes)).state);
  return states;
}

it('a long operation that failed for what may pass is begun anew at the try after the one that heard of it', async () => {
  expect(await tries(failed('RESOURCE_BUSY'), new Map())).toEqual(['failed', 'running', 'failed', 'running']);
  expect(await tries(failed('INVALID_ARGUMENT'), new Map())).toEqual(['failed', 'failed', 'failed', 'failed']);
  expect(await tries(failed('RESOURCE_BUSY'))).toEqual(['failed', 'failed', 'failed', 'failed']);
  expect(await tries(undefined, new Map())).toEqual(['running', 'running', 'running', 'running']);
});
