/**
 * Serves images read-only over NBD, each once, on demand, by a confined qemu-nbd that outlives the agent; ends a server that
 * nobody has used for some minutes. Who may connect to the socket is the caller's business.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { digestHex } from '@berth/shared/disk/digest.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import { KeyedTurns } from '@berth/shared/runtime/turns.ts';
import { accepts, type Helpers } from '../helpers.ts';
import type { ImageStore } from './images.ts';
import type { Pool } from './pool.ts';

/** Name under which an image's socket exports the disk; the tunnel and the fetch rely on it. */
export const IMAGE_EXPORT = '';

export interface ImageServers {
  /** The UNIX socket to connect to. NOT_FOUND when the image is not here. */
  serve(digest: string): Promise<string>;
  /** Ends the server of an image that goes away. */
  stop(digest: string): Promise<void>;
  /** Takes over servers of an earlier run of the agent. */
  adopt(): Promise<void>;
}

interface Parts {
  readonly pool: Pool;
  readonly helpers: Helpers;
  readonly images: ImageStore;
  readonly clock: Clock;
  readonly log: Log;
}

const IDLE_MS = 5 * 60_000;
const CHECK_MS = 60_000;
const PREFIX = 'img-';

/** 64 bits of the digest: two images of one host never meet, and the path stays short. */
const helperName = (digest: string): string => `${PREFIX}${digestHex(digest).slice(0, 16)}`;

export function createImageServers(parts: Parts): ImageServers {
  const { pool, helpers, clock, log } = parts;
  const queue = new KeyedTurns();
  /** When each was last asked for. */
  const lastUsed = new Map<string, number>();
  const watch = (): unknown =>
    clock.after(CHECK_MS, () => {
      void sweep()
        .catch((e: unknown) => log.warn({ err: e }, 'looking for idle image servers failed'))
        .finally(watch);
    });
  const sweep = async (): Promise<void> => {
    for (const name of [...lastUsed.keys()])
      await queue.run(name, async () => {
        if (clock.monotonic() - (lastUsed.get(name) ?? 0) < IDLE_MS) return;
        if ((await connections(parts, name)) > 0) return;
        lastUsed.delete(name);
        await helpers.stop(name);
        log.info({ helper: name }, 'an image server was idle and has been stopped');
      });
  };
  watch();
  return {
    serve: (digest) =>
      queue.run(helperName(digest), async () => {
        await parts.images.get(digest);
        const name = helperName(digest);
        lastUsed.set(name, clock.monotonic());
        const socketPath = join(pool.helperDir(name), 's');
        if (!(await accepts(socketPath))) await start(parts, name, digest, socketPath);
        return socketPath;
      }),
    stop: (digest) =>
      queue.run(helperName(digest), async () => {
        lastUsed.delete(helperName(digest));
        await helpers.stop(helperName(digest));
      }),
    async adopt() {
      for (const name of await readdir(pool.runDir)) if (name.startsWith(PREFIX)) lastUsed.set(name, clock.monotonic());
    },
  };
}

async function start({ helpers, pool }: Parts, name: string, digest: string, socketPath: string): Promise<void> {
  await helpers.prepare(name, true);
  await helpers.start({
    name,
    program: 'qemu-nbd',
    args: ['-r', '-t', '-e', '0', '-x', IMAGE_EXPORT, '-k', socketPath, '-f', 'qcow2', pool.imagePath(digest)],
    // it may serve for days
    confined: { cpuSeconds: 30 * 24 * 3_600 },
    socketPath,
  });
}

/** Clients of a server: its accepted sockets carry the path, and are seen in its own network namespace. */
async function connections({ pool, helpers }: Parts, name: string): Promise<number> {
  const path = join(pool.helperDir(name), 's');
  const lists = await Promise.all(
    (await helpers.find(name)).map((pid) => readFile(`/proc/${pid}/net/unix`, 'utf8').catch(() => '')),
  );
  // state 03 is connected
  const counts = lists.map((l) => l.split('\n').filter((row) => / 03 +\d+ /.test(row) && row.endsWith(path)).length);
  return Math.max(0, ...counts);
}
