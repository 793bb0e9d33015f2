/** What is said of snapshots where a VM is shown. */
import { expect, it, vi } from 'vitest';
import { Snapshot } from '@berth/proto/v1/snapshot.ts';
import type { Api } from '../core/api.ts';
import { snapshotWords } from './snapshot-words.ts';

const words = (count: number, list: () => Promise<unknown>) => {
  const call = vi.fn(list);
  const api = { call, snapshots: {} } as unknown as Api;
  return { call, said: snapshotWords(api, { id: 'vm-1', snapshotCount: count }) };
};
const snapshot = (name: string, current: boolean) => Snapshot.fromPartial({ name, current });

it('counts them and names the one that its disks went on from', async () => {
  const { said } = words(2, async () => ({ snapshots: [snapshot('a', false), snapshot('b', true)] }));
  expect(await said).toBe('2, went on from b');
});

it('counts them alone when its host does not tell', async () => {
  expect(await words(2, async () => ({ snapshots: [snapshot('a', false), snapshot('b', false)] })).said).toBe('2');
  expect(await words(2, () => Promise.reject(new Error('h1 does not answer'))).said).toBe('2');
});

it('says nothing, and asks nobody, where there are none', async () => {
  const { call, said } = words(0, async () => ({ snapshots: [] }));
  expect(await said).toBe('');
  expect(call).not.toHaveBeenCalled();
});
