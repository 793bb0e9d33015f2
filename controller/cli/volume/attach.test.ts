import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { Volume } from '@berth/proto/v1/volume.ts';
import type { Api } from '../core/api.ts';
import type { Context } from '../core/context.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { volumeAttach } from './attach.ts';

it('says by what name the volume is found while it is a disk of the VM', async () => {
  const stdout = new PassThrough();
  const volume = Volume.fromPartial({ id: 'volume-1', name: 'web-vdb', vm: 'web', target: 'vdb' });
  const api = {
    call: (_client: unknown, method: (c: unknown) => unknown) => {
      const asked = method({ attachVolume: 'attach', getVolume: 'get' });
      return Promise.resolve(asked === 'get' ? volume : { volume, jobId: '' });
    },
  } as unknown as Api;
  const ctx = {
    ...{ stdout, stderr: new PassThrough(), clock: systemClock, signal: new AbortController().signal },
    ...{ api: async () => api, fail: () => undefined, finishUnread: () => undefined },
  };
  await volumeAttach.run(ctx as unknown as Context, ['web', 'data'], {});
  expect(String(stdout.read())).toMatch(/^volume data is vdb of vm web, called web-vdb there +\[ {2}OK {2}\]\n$/);
});
