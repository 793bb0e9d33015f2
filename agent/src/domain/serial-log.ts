/** Reading a VM's serial log: the end of it, and then what comes, until the caller goes away. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks } from '../drivers/disks.ts';

export interface SerialLogRequest {
  readonly vmId: string;
  /** 0: from the beginning. */
  readonly tailBytes: number;
  readonly follow: boolean;
}

const CHUNK_BYTES = 64 * 1024;
const POLL_MS = 300;

/** Ends when the log is read, or with the signal when following. A log that was cut or rotated is read from its start. */
export async function* readSerialLog(
  deps: { readonly disks: Disks; readonly clock: Clock },
  request: SerialLogRequest,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { sizeBytes } = await deps.disks.readSerialLog(request.vmId, 0, 0);
  let offset = request.tailBytes > 0 ? Math.max(0, sizeBytes - request.tailBytes) : 0;
  while (!signal.aborted) {
    const read = await deps.disks.readSerialLog(request.vmId, offset, CHUNK_BYTES);
    if (read.data.length > 0) {
      offset += read.data.length;
      yield read.data;
      continue;
    }
    if (read.sizeBytes < offset) {
      offset = 0;
      continue;
    }
    if (!request.follow) return;
    await deps.clock.sleep(POLL_MS, signal).catch(() => undefined);
  }
}
