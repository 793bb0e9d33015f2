/**
 * Fetches an image from whoever is behind a UNIX socket into this host's pool: a copy that a storage daemon fills, whole
 * only after its content has been checked. Survives the end of the agent, of the daemon, or of both. Knows nothing of
 * peers; peer/tunnels.ts is behind the socket.
 */
import { chown } from 'node:fs/promises';
import { digestHex } from '@berth/shared/disk/digest.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks, ImageSeen, LongWork } from '../../disks.ts';
import type { DigestService } from '../disks/digest-service.ts';
import type { ImageStore } from '../disks/images.ts';
import type { Pool } from '../disks/pool.ts';
import { IMAGE_EXPORT } from '../disks/serve.ts';
import type { Exec } from '../exec.ts';
import type { Helpers } from '../helpers.ts';
import { copyState, finishCopy, makeCopy, removeCopy, type CopySpec } from './copy.ts';
import { adoptDaemon, endDaemon, exportPath, startDaemon, type DaemonSpec } from './daemon.ts';
import { connectSource, fillCopy } from './fill.ts';
import { QmpGone, type Qmp } from './qmp.ts';

export type ImageWanted = Parameters<Disks['fetchImage']>[0];
export type Fetcher = Pick<Disks, 'fetchImage' | 'dropFetch'>;

export interface FetcherOptions {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly helpers: Helpers;
  readonly images: ImageStore;
  readonly digests: DigestService;
  readonly clock: Clock;
  readonly log: Log;
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
      await endDaemon(helperName(digest), undefined, options);
      await removeCopy(options.pool.cachePath(digest));
    },
  };
}

const helperName = (digest: string): string => `fetch-${digestHex(digest).slice(0, 16)}`;

class Fetch {
  private readonly copy: CopySpec;
  private readonly daemon: DaemonSpec;
  private deaths = 0;
  private bestBytes = 0;

  constructor(
    private readonly options: FetcherOptions,
    private readonly image: ImageWanted,
    sourceSocket: string,
    private readonly work: LongWork,
  ) {
    const { pool } = options;
    const { digest, virtualSizeBytes } = image;
    const [path, name] = [pool.cachePath(digest), helperName(digest)];
    this.copy = { path, virtualSizeBytes, sourceSocket };
    this.daemon = { name, dir: pool.helperDir(name), copyPath: path, sourceSocket, virtualSizeBytes };
  }

  async run(): Promise<ImageSeen> {
    const there = await this.options.images.find(this.image.digest);
    if (there) {
      await endDaemon(this.daemon.name, undefined, this.options);
      await removeCopy(this.copy.path);
      return there;
    }
    await this.shareSource();
    while (!(await this.attempt()));
    return this.install();
  }

  /** The daemon that connects to it is not root. */
  private async shareSource(): Promise<void> {
    const { uid, gid } = await this.options.exec.sandboxUser();
    await chown(this.copy.sourceSocket, uid, gid).catch((e: NodeJS.ErrnoException) => {
      if (e.code !== 'ENOENT') throw e; // it may come later; whoever makes it then also lets the daemon in
    });
  }

  /** One daemon's life. True when the copy is filled; false when the daemon died and another should go on. */
  private async attempt(): Promise<boolean> {
    const { clock, log } = this.options;
    const source = { socketPath: this.copy.sourceSocket, exportName: IMAGE_EXPORT };
    let qmp: Qmp | undefined;
    let how: 'kill' | undefined = 'kill';
    try {
      qmp = await this.attach();
      if (!qmp) return true;
      await connectSource(qmp, source, { clock, signal: this.work.signal });
      how = undefined;
      await fillCopy(qmp, exportPath(this.daemon), clock, this.progress());
      await endDaemon(this.daemon.name, qmp, this.options);
      await finishCopy(this.copy, this.options.exec);
      return true;
    } catch (e) {
      if (how === undefined && this.isLetGo()) {
        qmp?.close();
        throw e;
      }
      // before it has its source the daemon has not opened the copy; waiting for one it hears nothing
      await endDaemon(this.daemon.name, qmp, this.options, how);
      if (!(e instanceof QmpGone) || ++this.deaths > MAX_DEATHS) throw this.explain(e);
      log.warn(
        { digest: this.image.digest, deaths: this.deaths },
        'the storage daemon of a fetch died; starting another',
      );
      return false;
    }
  }

  /** The agent ends, not the fetch: the daemon keeps the copy, and the next agent takes it over. */
  private isLetGo(): boolean {
    const { aborted, reason } = this.work.signal;
    return aborted && isClusterError(reason, 'HOST_UNREACHABLE');
  }

  /** The running daemon, or a new one; undefined when there is nothing left to fill. */
  private async attach(): Promise<Qmp | undefined> {
    const { exec } = this.options;
    const adopted = await adoptDaemon(this.daemon, this.options);
    if (adopted) return adopted;
    const state = await copyState(this.copy, exec);
    if (state === 'filled') return undefined;
    if (state === 'absent') {
      await removeCopy(this.copy.path);
      await makeCopy(this.copy, exec, await exec.sandboxUser());
    }
    return startDaemon(this.daemon, this.options);
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

  /** Checks all of it before it counts as the image. */
  private async install(): Promise<ImageSeen> {
    const { digest, virtualSizeBytes: total } = this.image;
    // checking reads again what has already been counted
    const work: LongWork = { signal: this.work.signal, onProgress: () => this.work.onProgress(total, total) };
    const found = await this.options.digests.ofFile(this.copy.path, 'qcow2', work);
    if (found.digest === digest) return this.options.images.install(this.copy.path, found);
    await removeCopy(this.copy.path);
    throw new ClusterError(
      'DIGEST_MISMATCH',
      `what arrived as image ${digest} is something else (${found.digest}) and was thrown away; fetch it from another host`,
      { digest, found: found.digest },
    );
  }

  private explain(e: unknown): unknown {
    if (isClusterError(e)) return e;
    const why = e instanceof Error ? e.message : String(e);
    return new ClusterError('INTERNAL', `image ${this.image.digest} could not be fetched (${why})`, {}, { cause: e });
  }
}
