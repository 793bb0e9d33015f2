/**
 * Documents of kind image: tags, copies to keep and the default spec. That its bytes are there is asked for; they come by an import,
 * which no document can hold.
 */
import { SetImageRequest, type Image } from '@berth/proto/v1/image.ts';
import { isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import { definitionSchema } from '@berth/shared/hardware/definition.ts';
import { writeForm } from '@berth/shared/hardware/form.ts';
import * as z from 'zod';
import type { Api } from '../core/api.ts';
import { imageSpecForm, settableTags } from '../image/document.ts';
import type { Change, Kind, Plan } from './kind.ts';

const schema = z.strictObject({
  kind: z.literal('image'),
  name: z.string().min(1, 'must not be empty'),
  tags: z.array(z.string()).optional(),
  keepCopies: z.number().int().min(1).max(1000).optional(),
  spec: definitionSchema.optional(),
  status: z.unknown().optional(),
});
type ImageDocument = z.output<typeof schema>;

export const imageKind: Kind = { schema, plan: planImage };

async function planImage(api: Api, d: ImageDocument): Promise<Plan> {
  const image = await get(api, d.name);
  const changes = changesOf(d, image);
  return {
    ...{ noun: 'image', name: d.name, what: changes.length === 0 ? 'nothing' : 'update', changes },
    apply: (to) => apply(to, d, image, new Set(changes.map((c) => c.field))),
  };
}

/** What a document says nothing about stays. */
function changesOf(d: ImageDocument, image: Image): readonly Change[] {
  const text = (v: unknown): string => (v === undefined || v === '' ? '' : JSON.stringify(v));
  const fields: [string, unknown, unknown][] = [
    ['tags', settableTags(image).sort().join(', '), d.tags && [...d.tags].sort().join(', ')],
    ['keepCopies', image.keepCopies, d.keepCopies],
    ['spec', imageSpecForm(image), d.spec && (writeForm(d.spec) as object)],
  ];
  return fields.flatMap(([field, before, after]) =>
    after === undefined || same(before, after) ? [] : [{ field, before: text(before), after: text(after) }],
  );
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const sorted = (v: unknown): unknown =>
  typeof v === 'object' && v !== null && !Array.isArray(v)
    ? Object.fromEntries(
        Object.entries(v)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .map(([k, x]) => [k, sorted(x)]),
      )
    : v;

async function apply(api: Api, d: ImageDocument, image: Image, fields: ReadonlySet<string>) {
  if (fields.has('tags')) {
    const [tags, now] = [d.tags ?? [], settableTags(image)];
    const removeTags = now.filter((t) => !tags.includes(t));
    await api.call(api.images, (c) => c.tagImage, { image: d.name, tags, removeTags });
  }
  if (fields.has('keepCopies') || fields.has('spec'))
    await api.call(api.images, (c) => c.setImage, {
      ...SetImageRequest.fromPartial({ image: d.name, keepCopies: d.keepCopies }),
      ...(d.spec && { defaultSpec: definitionToWire(d.spec) }),
    });
  return { jobId: '', said: 'changed' };
}

async function get(api: Api, name: string): Promise<Image> {
  try {
    return await api.call(api.images, (c) => c.getImage, { image: name });
  } catch (e) {
    if (!isClusterError(e, 'NOT_FOUND')) throw e;
    throw notFound(
      `image ${name} does not exist, and a file like this has no disk in it: berth image import FILE --name ${name}`,
    );
  }
}
