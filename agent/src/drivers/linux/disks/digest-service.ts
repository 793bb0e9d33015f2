/** Digests of disks in files of ours, read through a confined qemu-nbd that lives as long as the reading. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { takeFile } from '../take-file.ts';
import { digestOfExport, type DiskDigest } from './digest.ts';
import { connectNbd } from './nbd-client.ts';
import type { Pool } from './pool.ts';
import { served, SERVED_EXPORT } from './changes/served.ts';

export interface DigestService {
  /**
   * Of a file of ours that stands alone. Makes it root's and read-only first, so that what is hashed is what will be installed.
   * The unprivileged user must be able to reach it.
   */
  ofFile(path: string, format: 'qcow2' | 'raw', work: LongWork): Promise<DiskDigest>;
  /** Of what a helper of ours serves. */
  ofExport(socketPath: string, exportName: string, work: LongWork): Promise<DiskDigest>;
}

export function createDigestService(parts: {
  readonly exec: Exec;
  readonly pool: Pool;
  readonly clock: Clock;
}): DigestService {
  const { clock } = parts;
  const ofExport = async (socketPath: string, exportName: string, work: LongWork): Promise<DiskDigest> => {
    const nbd = await connectNbd({ socketPath, exportName, clock, signal: work.signal });
    try {
      return await digestOfExport(nbd, work);
    } finally {
      nbd.close();
    }
  };
  return {
    ofExport,
    async ofFile(path, format, work) {
      await takeFile(path, 0o444);
      return served(parts, { path, format }, work.signal, (socket) => ofExport(socket, SERVED_EXPORT, work));
    },
  };
}
