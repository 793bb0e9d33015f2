/**
 * Serves a whole image on the socket that guests read from while it was filling, in the storage daemon's place, until they have
 * moved to the file. A helper under the daemon's name: never both.
 */
import { join } from 'node:path';
import { digestHex } from '@berth/shared/disk/digest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { sizeOf } from '../disks/files.ts';
import type { Pool } from '../disks/pool.ts';
import { IMAGE_EXPORT } from '../disks/serve.ts';
import { accepts, type Helpers } from '../helpers.ts';
import { openSocket } from '../take-file.ts';
import { basePath } from './daemon.ts';
import { BASE_EXPORT } from './fill.ts';

export interface BaseServers {
  socketPath(digest: string): string;
  /** Somebody has been serving it, and may still. */
  has(digest: string): Promise<boolean>;
  /** Serves this file from now on; the daemon that filled it, if there is one, is ended. Serving already: nothing. */
  serve(digest: string, path: string): Promise<void>;
  /** Absent is fine. */
  end(digest: string): Promise<void>;
  /** Resolves when somebody serves it, or nobody needs to. @throws PEER_UNAVAILABLE when nobody does in time */
  ready(digest: string, isWhole?: () => Promise<boolean>): Promise<void>;
}

const READY_MS = 15_000;
const POLL_MS = 50;
const MONTH_S = 30 * 86_400;

export const helperName = (digest: string): string => `fetch-${digestHex(digest).slice(0, 16)}`;

export function createBaseServers(parts: {
  readonly pool: Pool;
  readonly helpers: Helpers;
  readonly clock: Clock;
}): BaseServers {
  const { pool, helpers, clock } = parts;
  const dirOf = (digest: string): string => pool.helperDir(helperName(digest));
  const socketPath = (digest: string): string => basePath({ dir: dirOf(digest) });
  return {
    socketPath,
    has: async (digest) => (await sizeOf(dirOf(digest))) !== undefined,
    async serve(digest, path) {
      const [name, socket] = [helperName(digest), socketPath(digest)];
      const isDaemon = (await sizeOf(join(dirOf(digest), 'qmp'))) !== undefined;
      if (!isDaemon && (await accepts(socket))) return;
      await helpers.prepare(name, true);
      const [args, confined] = [serverArgs(path, socket), { cpuSeconds: MONTH_S }];
      await helpers.start({ name, program: 'qemu-storage-daemon', args, confined, socketPath: socket });
      await openSocket(socket); // as the daemon's: QEMU runs as a user of its own
    },
    end: (digest) => helpers.stop(helperName(digest)),
    async ready(digest, isWhole) {
      const deadline = clock.monotonic() + READY_MS;
      while (!(await accepts(socketPath(digest))) && (await isWhole?.()) !== true) {
        if (clock.monotonic() > deadline)
          throw new ClusterError(
            'PEER_UNAVAILABLE',
            `image ${digest} is not whole on this host, and is not being copied to it just now; try again when it is`,
          );
        await clock.sleep(POLL_MS);
      }
    },
  };
}

/** Under both names: guests read on, and so do hosts that had begun to copy it from here. */
function serverArgs(path: string, socketPath: string): string[] {
  const file = { driver: 'file', filename: path, 'node-name': 'file0', 'read-only': true };
  const disk = { driver: 'qcow2', file: 'file0', 'node-name': 'disk0', 'read-only': true };
  const server = `addr.type=unix,addr.path=${socketPath.replaceAll(',', ',,')},max-connections=0`;
  const exports = [BASE_EXPORT, IMAGE_EXPORT].flatMap((name, i) => [
    ...['--export', `type=nbd,id=e${i},node-name=disk0,writable=off,name=${name}`],
  ]);
  return [...[file, disk].flatMap((b) => ['--blockdev', JSON.stringify(b)]), '--nbd-server', server, ...exports];
}
