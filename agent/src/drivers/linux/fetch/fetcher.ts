/**
 * Fetches an image from whoever is behind a UNIX socket into this host's pool: a copy that a storage daemon fills and that
 * guests read meanwhile, whole only after its content has been checked. Survives the end of the agent, of the daemon, or of both. Knows nothing of
 * peers; peer/tunnels.ts is behind the socket.
 */
import { join } from 'node:path';
import { digestHex } from '@berth/shared/disk/digest.ts';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks, FetchWork, ImageSeen, LongWork } from '../../disks.ts';
import type { DigestService } from '../disks/digest-service.ts';
import type { ImageStore } from '../disks/images.ts';
import { sizeOf } from '../disks/files.ts';
import type { Pool } from '../disks/pool.ts';
import type { ImageServers } from '../disks/serve.ts';
import { listSidecars } from '../disks/sidecars.ts';
import type { Exec } from '../exec.ts';
import type { Helpers } from '../helpers.ts';
import { helperName, type BaseServers } from './base-server.ts';
import { copyState, finishCopy, isOfBoot, makeCopy, noteBoot, removeCopy, type CopySpec } from './copy.ts';
import { adoptDaemon, basePath, endDaemon, startDaemon, type DaemonSpec } from './daemon.ts';
import { fillCopy, openCopy } from './fill.ts';
import { hashesFor, removeHashes } from './hashes.ts';
import { QmpGone, type Qmp } from './qmp.ts';
import type { PassOn } from './pass-on.ts';
import { openRelay, type Relay } from './relay.ts';

export type ImageWanted = Parameters<Disks['fetchImage']>[0];
export interface Fetcher extends Pick<Disks, 'fetchImage' | 'dropFetch'> {
  /** A source gives what is missing of it. */
  isServed(digest: string): boolean;
  /** It is being fetched, or checked when all of it is here. */
  isRunning(digest: string): boolean;
  /** Where others read what of it is here already; undefined while there is no such place. */
  passOnSocket(digest: string): string | undefined;
}

export interface FetcherOptions {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly helpers: Helpers;
  readonly images: ImageStore;
  readonly digests: DigestService;
  readonly bases: BaseServers;
  readonly servers: Pick<ImageServers, 'serve'>;
  /** Of the host. */
  readonly bootId: () => Promise<string>;
  readonly clock: Clock;
  readonly log: Log;
}

/** So often in a row a daemon may die without a byte of progress. */
const MAX_DEATHS = 5;
/** So often in a row what a source gave may be turned away. */
const MAX_REFUSALS = 10;

export function createFetcher(options: FetcherOptions): Fetcher {
  const running = new Map<string, Promise<ImageSeen>>();
  const fetches = new Map<string, Fetch>();
  /** Of images that are whole: hosts that had begun to read them meanwhile may still do. */
  const earlier = new Map<string, PassOn>();
  return {
    isServed: (digest) => fetches.get(digest)?.isServed() ?? false,
    isRunning: (digest) => fetches.has(digest),
    passOnSocket: (digest) => fetches.get(digest)?.passOnSocket(),
    async fetchImage(image, sourceSocket, work) {
      if (running.has(image.digest))
        throw new ClusterError('RESOURCE_BUSY', `image ${image.digest} is already being fetched to this host`);
      const fetch = new Fetch(options, image, sourceSocket, work, earlier);
      fetches.set(image.digest, fetch);
      const fetching = fetch.run();
      running.set(image.digest, fetching);
      return fetching.finally(() => {
        running.delete(image.digest);
        fetches.delete(image.digest);
      });
    },
    async dropFetch(digest) {
      if (running.has(digest))
        throw new ClusterError('RESOURCE_BUSY', `image ${digest} is being fetched to this host; cancel that first`);
      if (await options.images.find(digest)) return;
      if (await guestsRest(options.pool, digest))
        throw new ClusterError('IN_USE', `the copy of image ${digest} stays: volumes of VMs rest on it`);
      await endDaemon(helperName(digest), undefined, options);
      await removeAll(options.pool.cachePath(digest));
    },
  };
}

const guestsRest = async (pool: Pool, digest: string): Promise<boolean> =>
  (await listSidecars(pool)).some((s) => s.imageDigest === digest);

async function removeAll(copyPath: string): Promise<void> {
  await removeCopy(copyPath);
  await removeHashes(copyPath);
}

class Fetch {
  private readonly copy: CopySpec;
  private readonly daemon: DaemonSpec;
  private readonly passOnPath: string;
  private deaths = 0;
  private bestBytes = 0;
  private relay: Relay | undefined;
  private passOn: PassOn | undefined;
  private refusals = 0;

  constructor(
    private readonly options: FetcherOptions,
    private readonly image: ImageWanted,
    private readonly sourceSocket: string,
    private readonly work: FetchWork,
    private readonly earlier: Map<string, PassOn>,
  ) {
    const { pool } = options;
    const { digest, virtualSizeBytes } = image;
    const [path, name] = [pool.cachePath(digest), helperName(digest)];
    const relay = join(pool.runDir, `relay-${digestHex(digest).slice(0, 16)}`);
    this.passOnPath = join(pool.runDir, `pass-${digestHex(digest).slice(0, 16)}`);
    this.copy = { path, virtualSizeBytes, sourceSocket: relay };
    this.daemon = { name, dir: pool.helperDir(name), copyPath: path, virtualSizeBytes };
  }

  isServed(): boolean {
    return this.relay?.served() ?? false;
  }

  passOnSocket(): string | undefined {
    return this.passOn?.socketPath;
  }

  async run(): Promise<ImageSeen> {
    const { images, bases, pool } = this.options;
    const { digest } = this.image;
    const there = await images.find(digest);
    if (there) {
      if (await guestsRest(pool, digest)) await bases.serve(digest, pool.imagePath(digest));
      else await endDaemon(this.daemon.name, undefined, this.options);
      await removeAll(this.copy.path);
      return there;
    }
    try {
      await this.fill();
      const image = await this.install();
      if (this.passOn) this.retire(this.passOn);
      return image;
    } catch (e) {
      await this.passOn?.close();
      throw e;
    }
  }

  /** It has parts of the image in memory: nobody keeps it when it is over. */
  private retire(passOn: PassOn): void {
    const { earlier } = this;
    const { digest } = this.image;
    const forget = (): void => void (earlier.get(digest) === passOn && earlier.delete(digest));
    earlier.set(digest, passOn);
    passOn.retire(() => this.options.servers.serve(digest), forget);
  }

  private async fill(): Promise<void> {
    const { exec, pool, clock, log } = this.options;
    const { image, sourceSocket, work } = this;
    await this.dropOfEarlierBoot();
    const over = new AbortController();
    const signal = AbortSignal.any([work.signal, over.signal]);
    const rest = (): Promise<boolean> => guestsRest(pool, image.digest);
    const blame = (why: string, reason: Reason = 'PEER_UNAVAILABLE'): void => {
      work.blame?.(why);
      if (++this.refusals < MAX_REFUSALS) return;
      // guests wait for another source, as long as it takes
      void rest()
        .catch(() => false)
        .then((yes) => yes || over.abort(new ClusterError(reason, this.hopeless(why))));
    };
    const hashes = hashesFor({
      ...{ image, clock, signal, copyPath: this.copy.path, socketPath: work.hashesSocket },
      ...{ guestsRest: rest, blame },
    });
    hashes.catch(() => undefined);
    const owner = await exec.sandboxUser();
    await this.earlier.get(image.digest)?.close();
    this.earlier.delete(image.digest);
    this.relay = await openRelay({
      ...{ image, sourceSocket, hashes, clock, log, signal, owner, blame, socketPath: this.copy.sourceSocket },
      passOn: { socketPath: this.passOnPath, copySocket: basePath(this.daemon) },
    });
    this.passOn = this.relay.passOn;
    try {
      while (!(await this.attempt(this.relay, signal)));
      // an earlier agent may have filled it
      this.relay.finish();
    } catch (e) {
      throw over.signal.aborted ? over.signal.reason : e;
    } finally {
      over.abort();
      await this.relay.close();
      this.relay = undefined;
    }
  }

  /** One daemon's life. True when the copy is filled; false when the daemon died and another should go on. */
  private async attempt(relay: Relay, signal: AbortSignal): Promise<boolean> {
    const { clock, log } = this.options;
    const base = basePath(this.daemon);
    let qmp: Qmp | undefined;
    let how: 'kill' | undefined = 'kill';
    try {
      qmp = await this.attach();
      if (!qmp) return true;
      await openCopy(qmp, { relay: this.copy.sourceSocket, base });
      how = undefined;
      await fillCopy(qmp, base, relay.chunks, clock, this.progress(signal));
      relay.finish();
      await endDaemon(this.daemon.name, qmp, this.options);
      await finishCopy(this.copy, this.options.exec);
      return true;
    } catch (e) {
      if (how === undefined && this.isLetGo()) {
        qmp?.close();
        throw e;
      }
      // before it has opened the copy it has nothing to flush
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
      await noteBoot(this.copy.path, await this.options.bootId());
      await makeCopy(this.copy, exec, await exec.sandboxUser());
    }
    return startDaemon(this.daemon, this.options);
  }

  /** Guests would read parts of it that nobody checks again. */
  private async dropOfEarlierBoot(): Promise<void> {
    const { bootId, helpers, log } = this.options;
    const { path } = this.copy;
    if ((await sizeOf(path)) === undefined || (await isOfBoot(path, await bootId()))) return;
    // begun by an agent that noted no boot, and still being filled
    if ((await helpers.find(this.daemon.name)).length > 0) return noteBoot(path, await bootId());
    const { digest } = this.image;
    log.warn({ digest }, 'the host was started again while an image was fetched; it is fetched anew');
    await removeAll(path);
  }

  private hopeless(why: string): string {
    return `image ${this.image.digest} cannot be had: whoever was asked ${why}`;
  }

  private progress(signal: AbortSignal): LongWork {
    return {
      signal,
      onProgress: (done, total) => {
        if (done > this.bestBytes) this.deaths = this.refusals = 0;
        this.bestBytes = Math.max(this.bestBytes, done);
        this.work.onProgress(done, total);
      },
    };
  }

  /** Checks all of it before it counts as the image. */
  private async install(): Promise<ImageSeen> {
    const { digest, virtualSizeBytes: total } = this.image;
    const { bases, digests, images } = this.options;
    // guests go on reading while it is checked
    await bases.serve(digest, this.copy.path);
    // checking reads again what has already been counted
    const work: LongWork = { signal: this.work.signal, onProgress: () => this.work.onProgress(total, total) };
    const found = await digests.ofFile(this.copy.path, 'qcow2', work);
    if (found.digest === digest) {
      const image = await images.install(this.copy.path, found);
      await removeAll(this.copy.path);
      if (!(await guestsRest(this.options.pool, digest))) await bases.end(digest);
      return image;
    }
    // guests that rest on it are paused by their next read, and go on when it has been fetched anew
    await bases.end(digest);
    await removeAll(this.copy.path);
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
