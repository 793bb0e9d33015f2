/** An image as a document that people keep and give back: tags, copies to keep and default spec; its bytes are in no file. */
import type { Image } from '@berth/proto/v1/image.ts';
import { definitionFromWire } from '@berth/shared/hardware/definition-wire.ts';
import { writeForm } from '@berth/shared/hardware/form.ts';
import { said, type VmDefinition } from '@berth/shared/hardware/definition.ts';
import { LATEST } from '@berth/shared/model/image-name.ts';
import type { Form } from '../vm/definition-flags.ts';

export interface ImageView extends Omit<Image, 'state'> {
  readonly state: string;
}

type Defaults = Pick<Image, 'name' | 'defaultSpec'>;

export const imageDefaults = (i: Defaults): VmDefinition =>
  i.defaultSpec === undefined
    ? {}
    : (Object.fromEntries(
        Object.entries(definitionFromWire(`image ${i.name}`, i.defaultSpec)).filter(
          ([, v]) => !(Array.isArray(v) && v.length === 0),
        ),
      ) as VmDefinition);

/** Its default spec as it is written in files. */
export const imageSpecForm = (i: Defaults): Form => writeForm(imageDefaults(i)) as Form;

/** `latest` is left out: it goes by age unless somebody sets it, and a file that was only looked at should not. */
export const settableTags = (i: Pick<Image, 'tags'>): string[] => i.tags.filter((t) => t !== LATEST);

/** `status` is ignored when it comes back. */
export function imageDocument(i: ImageView): Form {
  const [spec, tags] = [imageSpecForm(i), settableTags(i)];
  return {
    ...{ kind: 'image', name: i.name },
    ...(tags.length > 0 && { tags }),
    ...(i.keepCopies > 1 && { keepCopies: i.keepCopies }),
    ...(Object.keys(spec).length > 0 && { spec }),
    status: said({
      ...{ id: i.id, state: i.state, digest: i.digest || undefined },
      sourceDigest: i.sourceDigest || undefined,
      virtualSizeBytes: Number(i.virtualSizeBytes),
      ...{ medium: i.medium || undefined, hidden: i.hidden || undefined, origin: i.origin || undefined },
      latest: i.tags.includes(LATEST) || undefined,
      copies: Object.fromEntries(i.copies.map((c) => [c.host, { fileBytes: Number(c.fileBytes) }])),
      ...{ vms: i.vmCount, job: i.jobId || undefined },
      createdAt: new Date(Number(i.createdAtMs)).toISOString(),
    }),
  };
}
