/** What a document of a volume would change, and what is left to verbs that say what they do. */
import { expect, it } from 'vitest';
import { CreateVolumeRequest, Volume } from '@berth/proto/v1/volume.ts';
import { notFound } from '@berth/shared/errors/cluster-error.ts';
import { readForm } from '@berth/shared/hardware/form.ts';
import type { Api } from '../core/api.ts';
import { volumeDocument } from '../volume/document.ts';
import { volumeKind } from './volume-kind.ts';

const GIB = 2 ** 30;
const there = Volume.fromPartial({
  ...{ name: 'data', state: 'ready', sizeBytes: BigInt(20 * GIB), format: 'qcow2', host: 'h1', pool: 'local' },
  labels: { team: 'a' },
});
function world(volume: Volume | undefined) {
  const asked: unknown[] = [];
  const api = {
    volumes: {
      getVolume: 'get',
      createVolume: 'create',
      resizeVolume: 'resize',
      moveVolume: 'move',
      labelVolume: 'label',
    },
    call: async (client: Record<string, string>, method: (c: Record<string, string>) => string, q: unknown) => {
      const name = method(client);
      if (name === 'get' && volume) return volume;
      if (name === 'get') throw notFound('volume data does not exist');
      asked.push([name, q]);
      return { jobId: 'job-1' };
    },
  } as unknown as Api;
  return { api, asked };
}
const document = (spec: object, more: object = {}) =>
  readForm(volumeKind.schema, { kind: 'volume', name: 'data', spec, ...more }).value as never;

it('makes one that is not there', async () => {
  const { api, asked } = world(undefined);
  const plan = await volumeKind.plan(api, document({ size: '20GiB', pool: 'fast' }));
  expect(plan).toMatchObject({ what: 'create', noun: 'volume' });
  expect(await plan.apply(api)).toEqual({ jobId: 'job-1', said: 'created' });
  const wanted = { name: 'data', sizeBytes: BigInt(20 * GIB), pool: 'fast' };
  expect(asked).toEqual([['create', CreateVolumeRequest.fromPartial(wanted)]]);
  await expect(volumeKind.plan(api, document({ pool: 'fast' }))).rejects.toThrow(/size is missing/);
});

it('what is shown changes nothing when it is applied', async () => {
  const { api } = world(there);
  const shown = readForm(volumeKind.schema, volumeDocument(there));
  expect(shown.faults).toEqual([]);
  expect((await volumeKind.plan(api, shown.value as never)).what).toBe('nothing');
});

it('grows and moves one that is there, one at a time', async () => {
  const { api, asked } = world(there);
  const grown = await volumeKind.plan(api, document({ size: '30GiB' }));
  expect(grown.changes).toEqual([{ field: 'size', before: '20 GiB', after: '30 GiB' }]);
  await grown.apply(api);
  const moved = await volumeKind.plan(api, document({ pool: 'fast', host: 'h1' }));
  expect(moved.changes).toEqual([{ field: 'pool', before: 'local', after: 'fast' }]);
  await moved.apply(api);
  expect(asked).toEqual([
    ['resize', { volume: 'data', sizeBytes: BigInt(30 * GIB), shrink: false }],
    ['move', { volume: 'data', pool: 'fast', host: '', full: false }],
  ]);
  await expect(volumeKind.plan(api, document({ size: '30GiB', host: 'h2' }))).rejects.toThrow(/in one step/);
});

it('changes labels, alone or with the rest', async () => {
  const { api, asked } = world(there);
  const plan = await volumeKind.plan(api, document({}, { labels: { tier: 'db' } }));
  expect(plan.changes.map((c) => c.field)).toEqual(['labels.team', 'labels.tier']);
  expect(await plan.apply(api)).toEqual({ jobId: '', said: 'changed' });
  await (await volumeKind.plan(api, document({ size: '30GiB' }, { labels: {} }))).apply(api);
  expect(asked).toEqual([
    ['label', { volume: 'data', set: { tier: 'db' }, remove: ['team'] }],
    ['label', { volume: 'data', set: {}, remove: ['team'] }],
    ['resize', { volume: 'data', sizeBytes: BigInt(30 * GIB), shrink: false }],
  ]);
});

it.each([
  [{ size: '10GiB' }, {}, /berth volume resize data --shrink/],
  [{ format: 'raw' }, {}, /berth volume convert data/],
])('refuses what would lose something, or cannot be: %j %j', async (spec, more, words) => {
  const { api, asked } = world(there);
  await expect(volumeKind.plan(api, document(spec, more))).rejects.toThrow(words);
  expect(asked).toEqual([]);
});

it('a disk of a VM is that VM’s document’s', async () => {
  const { api } = world({ ...there, vm: 'web', target: 'vda' });
  await expect(volumeKind.plan(api, document({}))).rejects.toThrow(/a disk of vm web/);
});
