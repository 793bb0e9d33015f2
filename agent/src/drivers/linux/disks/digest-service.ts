/** Digests of disks in files of ours, read straight from the file, or through a confined qemu-nbd that lives as long as the reading. */
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { takeFile } from '../take-file.ts';
import { digestOfExport, type DiskDigest } from './digest.ts';
import { openMapped, type DiskReader } from './mapped-file.ts';
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
    return digestOf(await connectNbd({ socketPath, exportName, clock, signal: work.signal }), work);
  };
  return {
    ofExport,
    async ofFile(path, format, work) {
      await takeFile(path, 0o444);
      const mapped = await openMapped(parts.exec, path, format, work.signal);
      if (mapped) return digestOf(mapped, work);
      return served(parts, { path, format }, work.signal, (socket) => ofExport(socket, SERVED_EXPORT, work));
    },
  };
}

async function digestOf(disk: DiskReader, work: LongWork): Promise<DiskDigest> {
  try {
    return await digestOfExport(disk, work);
  } finally {
    disk.close();
  }
}
