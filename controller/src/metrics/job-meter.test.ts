import { expect, it } from 'vitest';
import { Exposition } from '@berth/shared/metrics/exposition.ts';
import type { Hosts } from '../hosts/hosts.ts';
import { memoryState } from '../hosts/testing.ts';
import { JOBS } from '../jobs/registry.ts';
import { aJob } from '../state/samples.ts';
import { CONTROLLER_FAMILIES, type ControllerFamilies } from './families.ts';
import { JobMeter } from './job-meter.ts';

it('counts each kind of job as a transfer that copies images or volumes, while it is under way', async () => {
  const state = await memoryState();
  for (const kind of new Set(JOBS.map((j) => j.kind)))
    await state.update((tx) => tx.jobs.put(aJob({ kind, key: undefined, locks: [] })));
  const hosts = { operation: () => undefined, subscribe: () => () => undefined } as unknown as Hosts;
  const to = new Exposition<ControllerFamilies>(CONTROLLER_FAMILIES);
  new JobMeter(state, hosts).write(to);
  const kinds = [...to.text().matchAll(/berth_transfers\{kind="(.*?)"\} 1/g)].map(([, kind]) => kind).sort();
  const copying = ['image.capture', 'image.export', 'image.fetch', 'image.import', 'pool.image'];
  const more = ['volume.export', 'volume.move', 'volume.rewrite', 'volume.transfer', 'volume.wipe'];
  expect(kinds).toEqual(expect.arrayContaining([...copying, ...more]));
  expect(kinds).not.toContain('image.delete');
});
