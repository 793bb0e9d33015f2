/**
 * Job image.fetch, keyed: one copy of one image on one host, from any host that has it, or is just copying it. The target asks for
 * a source when it has none; image-sources.ts chooses one that is up, gets a ticket there and hands it over; when there is none,
 * the job waits and says so. Bytes go from agent to agent.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { ImageId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { getImage, sharesDigest } from './image-digests.ts';
import { feed, nameOf, sourcesOf, turnAway, type FetchContext, type FetchParams } from './image-sources.ts';
import { removeCopy } from './image-undo.ts';
import { known, settle } from './operate.ts';

export type { FetchParams };
export const fetchKey = (p: FetchParams): string => `image.fetch/${p.imageId}/${p.hostId}`;

const DEADLINE_MS = 24 * 3_600_000;

function available(tables: Tables, imageId: ImageId): Image & { digest: string } {
  const image = tables.images.get(imageId);
  if (image?.state !== 'available' || image.digest === undefined)
    throw new ClusterError(
      'BAD_STATE',
      `image ${image?.name ?? imageId} is ${image?.state ?? 'gone'}: it cannot be copied`,
    );
  return { ...image, digest: image.digest };
}

interface Fetched {
  readonly fileBytes: number;
  /** Names of the hosts that served it, as far as this run of the controller knows. */
  readonly from?: readonly string[];
}

async function fetch(c: FetchContext): Promise<Fetched | Wait> {
  const { digest, virtualSizeBytes, name } = available(c.tables, c.params.imageId);
  const target = c.deps.hosts.agent(c.params.hostId);
  const sources = sourcesOf(c);
  const from = sources.last && ` from ${nameOf(c, sources.last.hostId)}`;
  const why = `copying image ${name}${from ?? ''} to ${nameOf(c, c.params.hostId)}`;
  const ask = () => target.fetchImage(c.opId, { digest, virtualSizeBytes });
  let op = await known(target, c.opId, ask, c.notes);
  if (op.state === 'failed' && turnAway(c, sources, op)) op = await ask();
  if (op.state === 'running') {
    const next = await feed(c, sources, op, { name, digest, virtualSizeBytes });
    if (next) return next;
  } else c.deps.swarms.leave(c.params.imageId, c.params.hostId, op.state === 'succeeded');
  const done = await settle(c, Promise.resolve(op), why);
  if (Wait.is(done)) return done;
  return { fileBytes: done.image?.fileBytes ?? 0, from: [...sources.offered].map((id) => nameOf(c, id)) };
}

/** `fetched from h1, 14 MB, hash ok`. */
export function describeFetch({ from = [], fileBytes }: Fetched): string {
  const source = from.length > 0 ? ` from ${from.join(' and ')}` : '';
  return `fetched${source}, ${formatFileBytes(fileBytes)}, hash ok`;
}

export const imageFetch = defineJob<FetchParams, JobDeps>('image.fetch', 1)
  .deadline(DEADLINE_MS)
  .remote('fetch', {
    host: (c) => c.params.hostId,
    run: fetch,
    async undo(c) {
      const digest = c.tables.images.get(c.params.imageId)?.digest;
      return digest === undefined ? undefined : removeCopy(c, c.params.hostId, digest);
    },
    debts(c) {
      const digest = c.tables.images.get(c.params.imageId)?.digest;
      if (digest === undefined || sharesDigest(c.tables, digest, c.params.hostId)) return [];
      const why = `copying image ${getImage(c.tables, c.params.imageId).name} was undone`;
      return [{ kind: 'image', target: digest, vmId: undefined, why }];
    },
    describe: describeFetch,
  })
  .local('record', {
    run({ tx, params, outs }) {
      tx.imageCopies.put({ ...params, fileBytes: outs.fetch.fileBytes });
      return null;
    },
    undo({ tx, params }) {
      tx.imageCopies.delete(`${params.imageId}/${params.hostId}`);
    },
  })
  .build();
