import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import type { Api } from '../core/api.ts';
import type { Flags } from '../core/command.ts';
import type { Context } from '../core/context.ts';
import { cloneSource, type ClonedVm } from './clone-images.ts';

/** `web` is the name of a VM and of an image. */
async function source(flags: Flags): Promise<{ image: string | undefined; said: string }> {
  const stderr = new PassThrough();
  const api = { call: async () => ({ name: 'web' }) } as unknown as Api;
  const ctx = { stderr, api: async () => api } as unknown as Context;
  const look = async (of: ClonedVm, left: readonly string[]) => void stderr.write(JSON.stringify([of, left]));
  const { image } = await cloneSource(ctx, 'web', { names: ['web2'], flags, look });
  return { image, said: String(stderr.read() ?? '') };
}

describe('what is to be cloned', () => {
  it('asks which of two is meant', async () => {
    await expect(source({})).rejects.toThrow('web is an image and a vm. Say which');
    expect(await source({ fromImage: true })).toMatchObject({ image: 'web' });
  });

  it('is the VM where a snapshot is named: images have none', async () => {
    const { said } = await source({ snapshot: 'before', dryRun: true });
    expect(JSON.parse(said)).toEqual([{ vm: 'web', snapshot: 'before' }, ['web2']]);
  });
});
