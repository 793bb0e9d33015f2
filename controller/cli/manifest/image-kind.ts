/** Documents of kind image: that it is there. Its bytes come by an import, which no document can hold. */
import { isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { z } from 'zod';
import type { Api } from '../core/api.ts';
import type { Kind, Plan } from './kind.ts';

const schema = z.strictObject({
  kind: z.literal('image'),
  name: z.string().min(1, 'must not be empty'),
  status: z.unknown().optional(),
});
type ImageDocument = z.output<typeof schema>;

export const imageKind: Kind = { schema, plan: planImage };

async function planImage(api: Api, { name }: ImageDocument): Promise<Plan> {
  try {
    await api.call(api.images, (c) => c.getImage, { image: name });
  } catch (e) {
    if (!isClusterError(e, 'NOT_FOUND')) throw e;
    throw notFound(
      `image ${name} does not exist, and a file like this has no disk in it: berth image import FILE --name ${name}`,
    );
  }
  return { ...{ noun: 'image', name, what: 'nothing', changes: [] }, apply: async () => ({ jobId: '', said: '' }) };
}
