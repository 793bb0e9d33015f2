/** What volumes that are no files hold, as bytes: Ceph is read by a confined QEMU with a network, devices by libvirt. */
import { piecesOf, type Piece } from '@berth/shared/disk/pieces.ts';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Storage } from '../drivers/storage.ts';
import type { AllDisks, NetworkTarget } from '../drivers/volume-work.ts';
import { blockSourceOf, fileOf } from './pool-paths.ts';
import { poolUuid } from './pool-spec.ts';
import type { KeptPool, KeptVolume } from './pool-store.ts';

export interface BlockRead extends Pick<KeptVolume, 'volumeId' | 'unit' | 'sizeBytes'> {
  readonly pool: KeptPool;
}

/** Undefined: a device, which libvirt reads and writes. */
export async function networkTarget(
  storage: Pick<Storage, 'secretValue'>,
  pool: KeptPool,
  volume: Pick<KeptVolume, 'volumeId' | 'unit'>,
): Promise<NetworkTarget | undefined> {
  const source = blockSourceOf(pool, volume);
  if (source.type === 'block') return undefined;
  return { source, secret: source.auth && (await storage.secretValue(source.auth.secretUuid)) };
}

/** All that one holds. @throws as `disk` */
export async function* readBlocks(
  own: Pick<AllDisks, 'blocks'>,
  { storage }: { readonly storage: Pick<Storage, 'secretValue' | 'download'> },
  { pool, volumeId, unit, sizeBytes }: BlockRead,
  signal: AbortSignal,
): AsyncGenerator<Piece> {
  const name = fileOf({ volumeId, block: true, ...(unit && { unit }) });
  const target = await networkTarget(storage, pool, { volumeId, unit });
  const open = async (): Promise<AsyncIterable<Uint8Array>> =>
    target ? own.blocks.readIn(target, signal) : storage.download(poolUuid(pool.spec.poolId), name);
  yield* disk(open, sizeBytes, volumeId);
}

/** So much of it; what is behind that, because devices have whole extents, must be zeros: nothing is cut off. @throws BAD_STATE */
export async function* disk(
  open: () => Promise<AsyncIterable<Uint8Array>>,
  sizeBytes: number,
  volumeId: string,
): AsyncGenerator<Piece> {
  let at = 0;
  for await (const chunk of await open()) {
    const mine = chunk.subarray(0, Math.max(0, sizeBytes - at));
    yield* piecesOf(mine);
    at += mine.length;
    if (chunk.subarray(mine.length).some((b) => b !== 0))
      throw badState(
        `volume ${volumeId} holds something behind its ${formatBytes(sizeBytes)}, which its device has more of: make it larger ` +
          `(berth volume resize), then try again`,
      );
  }
}
