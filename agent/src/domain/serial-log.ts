/** Reading a VM's serial log: the end of it, or what came after a position, and then what comes, until the caller goes away. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks, SerialPiece } from '../drivers/disks.ts';

export interface SerialLogRequest {
  readonly vmId: string;
  /** 0: from the beginning. */
  readonly tailBytes: number;
  readonly follow: boolean;
  /** A position of an earlier piece; then the tail does not count. */
  readonly from?: string | undefined;
}

export const CHUNK_BYTES = 64 * 1024;
const POLL_MS = 300;
/** virtlogd has rotated long before; without it a guest that prints has this long. Each look costs a thread of Node's per log. */
const BOUND_MS = 60_000;

/**
 * Ends when the log is read, or with the signal when following. The first piece may be empty: it tells the position.
 * @throws INVALID_ARGUMENT when `from` is no position.
 */
export async function* readSerialLog(
  deps: { readonly disks: Pick<Disks, 'readSerialLog'>; readonly clock: Clock },
  request: SerialLogRequest,
  signal: AbortSignal,
): AsyncGenerator<SerialPiece> {
  const { vmId, tailBytes } = request;
  const begin =
    request.from === undefined ? { lastBytes: tailBytes > 0 ? tailBytes : Infinity } : { position: request.from };
  let piece = await deps.disks.readSerialLog(vmId, begin, CHUNK_BYTES);
  yield piece;
  while (!signal.aborted) {
    piece = await deps.disks.readSerialLog(vmId, { position: piece.position }, CHUNK_BYTES);
    if (piece.data.length > 0 || piece.gap) {
      yield piece;
      continue;
    }
    if (!request.follow) return;
    await deps.clock.sleep(POLL_MS, signal).catch(() => undefined);
  }
}

/** Keeps guests from filling the disk with what they print, until the signal. Rotation is virtlogd's; this is for where it has none. */
export async function boundSerialLogs(
  deps: { readonly disks: Pick<Disks, 'boundSerialLogs'>; readonly clock: Clock },
  failed: (e: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await deps.disks.boundSerialLogs().catch(failed);
    await deps.clock.sleep(BOUND_MS, signal).catch(() => undefined);
  }
}
