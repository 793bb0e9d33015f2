/** ImageService: images, and the relay of an upload to the host that receives it. Stores nothing. */
import { Readable } from 'node:stream';
import { ImageState, type Image, type ImageServiceService, type UploadImageRequest } from '@berth/proto/v1/image.ts';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import { definitionFromWire, definitionToWire } from '@berth/shared/hardware/definition-wire.ts';
import type { Image as Stored } from '@berth/shared/model/image.ts';
import type { Adoption } from '../app/adoption.ts';
import type { Images, ImageView } from '../app/images.ts';
import type { Prune } from '../app/prune.ts';
import { PIECES_AHEAD } from '../app/relay.ts';
import { fromWire, toWire } from './numbers.ts';
import { toQuery } from './page.ts';
import type { Handlers } from './call.ts';
import type { Scope } from './scope.ts';

export const imageHandlers = (
  images: Images,
  adoption: Adoption,
  scope: Scope,
  prune: Prune,
): Handlers<ImageServiceService> => ({
  importImage: async (r, call) => {
    const { name, format, host } = r;
    const fileBytes = fromWire('file_bytes', r.fileBytes);
    const allocatedBytes = fromWire('allocated_bytes', r.allocatedBytes) || fileBytes;
    const defaults = r.defaultSpec && definitionFromWire(`image ${name}`, r.defaultSpec);
    const wanted = { name, fileBytes, allocatedBytes, format, host, defaults };
    const made = await images.import(wanted, call.user);
    return { image: toImage(made.view), jobId: made.jobId, uploadTicket: made.uploadTicket };
  },
  uploadImage: async (messages, call) => {
    const all = messages[Symbol.asyncIterator]();
    const first = await all.next();
    const begin = first.done === true ? undefined : first.value.message;
    if (begin?.$case !== 'begin') throw invalidArgument('an upload begins with its ticket');
    const data = Readable.from(pieces(all, call.signal), { highWaterMark: PIECES_AHEAD });
    const { imageId, ticket } = begin.value;
    return { receivedBytes: toWire(await images.upload({ imageId, ticket, user: call.user }, data)) };
  },
  getImage: async (r, call) => {
    const view = await images.get(r.image);
    if (scope.seesImage(call, view.image)) return toImage(view);
    throw notFound(`image ${r.image.slice(0, 80)} does not exist. See: berth image list`);
  },
  listImages: async (r, call) => {
    const { items, nextPageToken } = await images.list({ ...toQuery(r.page), hidden: r.hidden });
    return { images: items.filter((v) => scope.seesImage(call, v.image)).map(toImage), nextPageToken };
  },
  adoptImage: async (r, call) => toImage(await images.get((await adoption.adoptImage(r.image, r.name, call.user)).id)),
  tagImage: async (r) => toImage(await images.tag(r.image, { set: r.tags, remove: r.removeTags })),
  setImage: async (r) => {
    const defaults = r.defaultSpec && definitionFromWire(`image ${r.image}`, r.defaultSpec);
    return toImage(await images.set(r.image, { defaults, keepCopies: r.keepCopies }));
  },
  pruneImages: async (r, call) => {
    const { dryRun, images: named, hosts } = r;
    const wanted = { unusedMs: fromWire('unused_for_ms', r.unusedForMs), dryRun, images: named, hosts };
    const copies = await prune.run(wanted, call.user);
    return {
      copies: copies.map(({ images: names, host, fileBytes, verdict, jobId }) => ({
        ...{ images: [...names], host, fileBytes: toWire(fileBytes), verdict, jobId: jobId ?? '' },
      })),
    };
  },
  deleteImage: async (r, call) => {
    const { jobId } = await images.delete(r.image, call.user);
    return { jobId };
  },
});

/** A caller that hangs up in the middle makes the stream fail, not end. */
async function* pieces(messages: AsyncIterator<UploadImageRequest>, signal: AbortSignal): AsyncGenerator<Piece> {
  for (;;) {
    const next = await messages.next();
    if (signal.aborted) throw new ClusterError('CANCELLED', 'the sender hung up');
    if (next.done === true) return;
    const { message } = next.value;
    if (message?.$case === 'data') yield message.value;
    else if (message?.$case === 'zeros' && message.value > 0n) yield fromWire('zeros', message.value);
    else throw invalidArgument('an upload has one beginning, and then only data and runs of zeros');
  }
}

const STATE: Readonly<Record<Stored['state'], ImageState>> = {
  importing: ImageState.IMPORTING,
  available: ImageState.AVAILABLE,
  deleting: ImageState.DELETING,
};

export const toImage = ({ image, copies, vmCount, jobId, tags }: ImageView): Image => ({
  id: image.id,
  name: image.name,
  state: STATE[image.state],
  digest: image.digest ?? '',
  sourceDigest: image.sourceDigest ?? '',
  virtualSizeBytes: toWire(image.virtualSizeBytes),
  copies: copies.map((c) => ({ host: c.host, fileBytes: toWire(c.fileBytes) })),
  createdAtMs: toWire(image.createdAtMs),
  vmCount,
  jobId: jobId ?? '',
  ...(image.medium && { medium: true }),
  tags: [...tags],
  ...(image.defaults && { defaultSpec: definitionToWire(image.defaults) }),
  hidden: image.hidden === true,
  origin: image.origin ?? '',
  keepCopies: image.keepCopies ?? 1,
});
