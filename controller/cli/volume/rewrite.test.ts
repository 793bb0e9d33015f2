import { expect, it } from 'vitest';
import type { Context } from '../core/context.ts';
import { volumeConvert } from './rewrite.ts';

it('is asked what volumes shall be converted to before anything is begun', async () => {
  await expect(volumeConvert.run({} as Context, ['data', 'raw'], {})).rejects.toThrow(
    /^what shall they be\? Say --to qcow2, raw, vmdk, vdi, vhdx$/,
  );
});
