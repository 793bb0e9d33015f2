/**
 * Fetches an image from whoever is behind a UNIX socket into this host's pool: a copy that a storage daemon fills, whole
 * only after its content has been checked. Survives the end of the agent, of the daemon, or of both. Knows nothing of
 * peers; peer/tunnels.ts is behind the socket.
 */
import { createHash } from 'node:crypto';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks, ImageSeen, LongWork } from '../../disks.ts';
import type { Pool } from '../disks/pool.ts';
import type { Exec } from '../exec.ts';
import { copyState, makeCopy, removeCopy, type CopySpec } from './copy.ts';
import { adoptDaemon, quitDaemon, startDaemon, type DaemonSpec, type DaemonTools } from './daemon.ts';
import type { Qmp } from './qmp.ts';
import { fillCopy } from './stream-job.ts';

export type ImageWanted = Parameters<Disks['fetchImage']>[0];
export type Fetcher = Pick<Disks, 'fetchImage' | 'dropFetch'>;

export interface FetcherOptions {
  readonly pool: Pick<Pool, 'cachePath' | 'helperDir'>;
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  /** The image, when it is here whole. */
  readonly installed: (digest: string) => Promise<ImageSeen | undefined>;
  /**
   * Checks all of a filled copy and installs it as the image: it is moved away from `path`. DIGEST_MISMATCH when it holds
   * anything else.
   */
  readonly install: (path: string, image: ImageWanted, work: LongWork) => Promise<ImageSeen>;
  /** Run the storage daemon as the unprivileged user, without network; default true. The source's socket must be that user's. */
  readonly confined?: boolean;
  /** Name of the export behind the socket; default the empty one. */
  readonly exportName?: string;
}

/** So often in a row a daemon may die without a byte of progress. */
const MAX_DEATHS = 5;

export function createFetcher(options: FetcherOptions): Fetcher {
  const running = new Map<string, Promise<ImageSeen>>();
  return {
    async fetchImage(image, sourceSocket, work) {
      if (running.has(image.digest))
        throw new ClusterError('RESOURCE_BUSY', `image ${image.digest} is already being fetched to this host`);
      const fetching = new Fetch(options, image, sourceSocket, work).run();
      running.set(image.digest, fetching);
      return fetching.finally(() => running.delete(image.digest));
    },
    async dropFetch(digest) {
      if (running.has(digest))
        throw new ClusterError('RESOURCE_BUSY', `image ${digest} is being fetched to this host; cancel that first`);
      await quitDaemon(helperDir(options.pool, digest), undefined, options.clock);
      await removeCopy(options.pool.cachePath(digest));
    },
  };
}

/** Short, for the sake of the sockets in it. */
const helperDir = (pool: FetcherOptions['pool'], digest: string): string =>
  pool.helperDir(`fetch-${createHash('sha256').update(digest).digest('hex').slice(0, 16)}`);

class Fetch {
  private readonly copy: CopySpec;
  private readonly daemon: DaemonSpec;
  private readonly tools: DaemonTools;
  private deaths = 0;
  private bestBytes = 0;

  constructor(
    private readonly options: FetcherOptions,
    private readonly image: ImageWanted,
    sourceSocket: string,
    private readonly work: LongWork,
  ) {
    const { pool, exec, clock } = options;
    const { virtualSizeBytes } = image;
    this.copy = { path: pool.cachePath(image.digest), virtualSizeBytes, sourceSocket };
    const dir = helperDir(pool, image.digest);
    this.daemon = { dir, copyPath: this.copy.path, sourceSocket, virtualSizeBytes };
    this.tools = { exec, clock, confined: options.confined ?? true };
  }

  async run(): Promise<ImageSeen> {
    const there = await this.options.installed(this.image.digest);
    if (there) {
      await quitDaemon(this.daemon.dir, undefined, this.options.clock);
      await removeCopy(this.copy.path);
      return there;
    }
    while (!(await this.attempt()));
    return this.install();
  }

  /** One daemon's life. True when the copy is filled; false when the daemon died and another should go on. */
  private async attempt(): Promise<boolean> {
    const { clock, log } = this.options;
    let qmp: Qmp | undefined;
    try {
      qmp = await this.attach();
      if (!qmp) return true;
      await fillCopy(qmp, { ...this.copy, exportName: this.options.exportName ?? '', clock }, this.progress());
      await quitDaemon(this.daemon.dir, qmp, clock);
      return true;
    } catch (e) {
      await quitDaemon(this.daemon.dir, qmp, clock);
      if (!isClusterError(e, 'PEER_UNAVAILABLE') || ++this.deaths > MAX_DEATHS) throw this.explain(e);
      log.warn(
        { digest: this.image.digest, deaths: this.deaths },
        'the storage daemon of a fetch died; starting another',
      );
      return false;
    }
  }

  /** The running daemon, or a new one; undefined when there is nothing left to fill. */
  private async attach(): Promise<Qmp | undefined> {
    const { exec, clock } = this.options;
    const adopted = await adoptDaemon(this.daemon, clock);
    if (adopted) return adopted;
    const state = await copyState(this.copy, exec);
    if (state === 'filled') return undefined;
    if (state === 'absent') {
      await removeCopy(this.copy.path);
      await makeCopy(this.copy, exec, this.tools.confined ? await exec.sandboxUser() : undefined);
    }
    return startDaemon(this.daemon, this.tools);
  }

  private progress(): LongWork {
    return {
      signal: this.work.signal,
      onProgress: (done, total) => {
        if (done > this.bestBytes) this.deaths = 0;
        this.bestBytes = Math.max(this.bestBytes, done);
        this.work.onProgress(done, total);
      },
    };
  }

  private async install(): Promise<ImageSeen> {
    const { virtualSizeBytes } = this.image;
    // checking reads again what has already been counted
    const work: LongWork = {
      signal: this.work.signal,
      onProgress: () => this.work.onProgress(virtualSizeBytes, virtualSizeBytes),
    };
    try {
      return await this.options.install(this.copy.path, this.image, work);
    } catch (e) {
      if (isClusterError(e, 'DIGEST_MISMATCH')) await removeCopy(this.copy.path);
      throw e;
    }
  }

  private explain(e: unknown): unknown {
    if (isClusterError(e)) return e;
    const why = e instanceof Error ? e.message : String(e);
    return new ClusterError('INTERNAL', `image ${this.image.digest} could not be fetched (${why})`, {}, { cause: e });
  }
}
