/** The part of the disk driver that has guests read images which are not whole yet, put together from its parts. */
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks, VolumeSpec } from '../../disks.ts';
import type { ImageStore } from '../disks/images.ts';
import { beginMove, endMove, finishMove, hasTwoFiles, isMoving, movedPath } from '../disks/moves.ts';
import type { Pool } from '../disks/pool.ts';
import type { ImageServers } from '../disks/serve.ts';
import { ensureVolume, removeVolume } from '../disks/volumes.ts';
import type { BaseServers } from './base-server.ts';
import type { Fetcher } from './fetcher.ts';
import { isUnchecked, keptHashes } from './hashes.ts';

export interface BaseParts {
  readonly pool: Pool;
  readonly images: ImageStore;
  readonly bases: BaseServers;
  readonly fetcher: Fetcher;
  readonly clock: Clock;
}

/** Shorter than who asks waits for a first byte. */
const HASHES_MS = 8_000;
const POLL_MS = 50;

type Ready = <A extends unknown[], R>(fn: (...args: A) => Promise<R>) => (...args: A) => Promise<R>;
type InTurn = <T>(id: string, fn: () => Promise<T>) => Promise<T>;

/** What guests read before their image is whole, and how they move to it then. */
export function basesOf(
  { pool, bases: servers, images, fetcher }: BaseParts,
  ready: Ready,
  onVolume: InTurn,
): Pick<
  Disks,
  | 'isMoving'
  | 'hasTwoFiles'
  | 'baseSocket'
  | 'hasBase'
  | 'openBase'
  | 'isBaseServed'
  | 'endBase'
  | 'beginMove'
  | 'finishMove'
  | 'endMove'
  | 'movedPath'
> {
  const whole = async (digest: string): Promise<boolean> => (await images.find(digest)) !== undefined;
  return {
    baseSocket: (digest) => servers.socketPath(digest),
    hasBase: ready((digest) => servers.has(digest)),
    openBase: ready(async (digest) => {
      if (await whole(digest)) await servers.serve(digest, pool.imagePath(digest));
      await servers.ready(digest);
    }),
    isBaseServed: ready(async (digest) => fetcher.isServed(digest) || (await whole(digest))),
    endBase: ready(async (digest) => {
      if (await whole(digest)) await servers.end(digest);
    }),
    beginMove: ready((id, guestHas) => onVolume(id, () => beginMove(pool, id, guestHas))),
    finishMove: ready((id) => onVolume(id, () => finishMove(pool, id))),
    isMoving: ready((id) => isMoving(pool, id)),
    hasTwoFiles: ready((id) => hasTwoFiles(pool, id)),
    endMove: ready((id) => onVolume(id, () => endMove(pool, id))),
    movedPath: (id) => movedPath(pool, id),
  };
}

/** This host is copying it, and passes on what it has: hosts that read from each other all begin at once. */
export const isRelayed = async ({ images, fetcher }: BaseParts, digest: string): Promise<boolean> =>
  fetcher.isRunning(digest) && (await images.find(digest)) === undefined;

/** Of an image that this host is copying, as soon as they are here. @throws NOT_FOUND when its parts cannot be vouched for */
export async function relayedHashes({ pool, fetcher, clock }: BaseParts, digest: string): Promise<Buffer> {
  const [copyPath, deadline] = [pool.cachePath(digest), clock.monotonic() + HASHES_MS];
  while (fetcher.isRunning(digest) && clock.monotonic() < deadline) {
    const kept = await keptHashes(copyPath);
    if (kept) return kept;
    if (await isUnchecked(copyPath)) break;
    await clock.sleep(POLL_MS);
  }
  throw notFound(`this host cannot vouch for the parts of image ${digest} that it has`);
}

/** What it copies is read from what comes in (pass-on.ts); what is just being checked, from what serves guests. */
export async function serveImage(
  parts: BaseParts & { readonly servers: ImageServers },
  digest: string,
): Promise<string> {
  if (!(await isRelayed(parts, digest))) return parts.servers.serve(digest);
  await relayedHashes(parts, digest);
  const passedOn = parts.fetcher.passOnSocket(digest);
  if (passedOn !== undefined) return passedOn;
  await parts.bases.ready(digest);
  return parts.bases.socketPath(digest);
}

/** Made first and looked at then: a fetch that would go on unchecked looks in the other order. */
export async function ensureInstant(parts: BaseParts, spec: VolumeSpec, digest: string): Promise<void> {
  const { pool, bases: servers, images } = parts;
  await servers.ready(digest, async () => (await images.find(digest)) !== undefined);
  await ensureVolume(parts, spec);
  if (!(await isUnchecked(pool.cachePath(digest))) || (await images.find(digest))) return;
  await removeVolume(pool, spec.volumeId);
  throw new ClusterError(
    'UNSUPPORTED',
    `image ${digest} comes from a host whose agent cannot vouch for its parts, so no vm may read it before it is whole: ` +
      `clone when it is, or upgrade that agent`,
  );
}
