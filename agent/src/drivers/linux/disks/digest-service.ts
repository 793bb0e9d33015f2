/** Digests of disks in files of ours, read through a confined qemu-nbd that lives as long as the reading. */
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../disks.ts';
import type { Exec } from '../exec.ts';
import { accepts } from '../helpers.ts';
import { digestOfExport, type DiskDigest } from './digest.ts';
import { connectNbd } from './nbd-client.ts';
import type { Pool } from './pool.ts';

export interface DigestService {
  /**
   * Of a file of ours that stands alone. Makes it root's and read-only first, so that what is hashed is what will be installed.
   * The unprivileged user must be able to reach it.
   */
  ofFile(path: string, format: 'qcow2' | 'raw', work: LongWork): Promise<DiskDigest>;
  /** Of what a helper of ours serves. */
  ofExport(socketPath: string, exportName: string, work: LongWork): Promise<DiskDigest>;
}

const START_MS = 15_000;
const EXPORT = 'disk';

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
      await chown(path, 0, 0);
      await chmod(path, 0o444);
      // under run/, where paths are short enough for a socket
      const dir = await mkdtemp(join(parts.pool.runDir, 'digest-'));
      try {
        const user = await parts.exec.sandboxUser();
        await chown(dir, user.uid, user.gid);
        const socketPath = join(dir, 's');
        return await serving(parts, { path, format, socketPath }, work, () => ofExport(socketPath, EXPORT, work));
      } finally {
        await rm(dir, { recursive: true, force: true });
      }
    },
  };
}

/** Runs `fn` while qemu-nbd serves the file. The program ends with the reading, or with the agent. */
async function serving<T>(
  { exec, clock }: { exec: Exec; clock: Clock },
  file: { path: string; format: string; socketPath: string },
  work: LongWork,
  fn: () => Promise<T>,
): Promise<T> {
  const enough = new AbortController();
  const signal = AbortSignal.any([enough.signal, work.signal]);
  const args = ['-r', '-t', '-e', '0', '-x', EXPORT, '-k', file.socketPath, '-f', file.format, file.path];
  const server = exec.runConfined('qemu-nbd', args, { signal, timeoutMs: 0, what: `reading ${file.path}` });
  const ended = server.then(() => {
    throw new ClusterError('INTERNAL', `reading ${file.path}: qemu-nbd ended before its time`);
  });
  try {
    await Promise.race([ended, listening(file.socketPath, clock, signal)]);
    return await Promise.race([ended, fn()]);
  } finally {
    enough.abort();
    await server.catch(() => undefined);
  }
}

async function listening(socketPath: string, clock: Clock, signal: AbortSignal): Promise<void> {
  for (const deadline = clock.monotonic() + START_MS; !(await accepts(socketPath)); await clock.sleep(10)) {
    if (signal.aborted) throw new ClusterError('CANCELLED', 'the check of the disk was cancelled');
    if (clock.monotonic() > deadline)
      throw new ClusterError('INTERNAL', `qemu-nbd was not ready within ${START_MS / 1_000} s`);
  }
}
