/** The operations behind ImageService: import of an upload, fetch from a peer, removal. Exports are given out by the peer port. */
import { ClusterError, invalidArgument, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, ImageSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { drivesWith } from '../domain/xml/live.ts';
import { checkBytes, checkDigest, checkUploadId } from '../ids.ts';
import type { ImageOutcome } from '../operations/ledger.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { PeerSource } from '../peer/dial.ts';
import type { Tunnel, Tunnels } from '../peer/tunnels.ts';

export interface ImportWanted {
  readonly uploadId: string;
  readonly format: string;
}

export interface FetchWanted {
  readonly digest: string;
  readonly virtualSizeBytes: number;
}

/** Conversions are bound by CPU, fetches by the network. */
const IMPORTS_AT_ONCE = 2;
const FETCHES_AT_ONCE = 8;
const FORMATS = ['', 'raw', 'qcow2', 'vmdk', 'vdi', 'vhdx', 'vpc'];

export function checkImport(w: ImportWanted): ImportWanted {
  checkUploadId(w.uploadId);
  if (!FORMATS.includes(w.format))
    throw invalidArgument(`image format ${JSON.stringify(w.format.slice(0, 40))} is not known`);
  return w;
}

export function checkFetch(w: FetchWanted): FetchWanted {
  checkDigest(w.digest);
  checkBytes('the virtual size', w.virtualSizeBytes, 1, 2 ** 50);
  return w;
}

/** A domain that was removed at this moment has nothing in its drives. */
function unlessGone(e: unknown): string {
  if (isClusterError(e, 'NOT_FOUND')) return '';
  throw e;
}

export class Images {
  readonly import: OperationKind<ImportWanted>;
  readonly fetch: OperationKind<FetchWanted>;
  readonly remove: OperationKind<string>;
  /** Uploads that an import reads now. */
  private readonly reading = new Set<string>();
  /** Offers that came before their fetch had its turn. */
  private readonly early = new Map<string, PeerSource>();
  private readonly tunnels = new Map<string, Tunnel>();

  constructor(
    private readonly disks: Disks,
    private readonly operations: Operations,
    private readonly peers: Pick<Tunnels, 'open'>,
    private readonly hypervisor: Pick<Hypervisor, 'list' | 'getXml'>,
    /** What guests read that rest on a fetch may be there again, or be whole. */
    private readonly onBase: () => void = () => undefined,
  ) {
    this.import = operations.define<ImportWanted>({
      name: 'image.import',
      long: { atOnce: IMPORTS_AT_ONCE },
      lockKey: (w) => `upload/${w.uploadId}`,
      run: (w, work) => this.doImport(w, work),
      succeeded: (w) => disks.removeUpload(w.uploadId),
      abandon: (w) => disks.removeUpload(w.uploadId),
    });
    this.fetch = operations.define<FetchWanted>({
      name: 'image.fetch',
      long: { atOnce: FETCHES_AT_ONCE },
      lockKey: (w) => `image/${w.digest}`,
      run: (w, work) => this.doFetch(w, work),
      abandon: (w) => disks.dropFetch(w.digest),
    });
    this.remove = operations.define<string>({
      name: 'image.remove',
      lockKey: (digest) => `image/${digest}`,
      run: (digest) => this.doRemove(digest),
    });
  }

  list(): Promise<readonly ImageSeen[]> {
    return this.disks.listImages();
  }

  /** Whole, or passed on while it is being copied here. */
  async canServe(digest: string): Promise<boolean> {
    return (await this.list()).some((i) => i.digest === digest) || this.disks.isRelayed(digest);
  }

  isReading(uploadId: string): boolean {
    return this.reading.has(uploadId);
  }

  /** @throws NOT_FOUND when no fetch of that id runs. */
  offer(operationId: string, peer: PeerSource, replace = false): void {
    if (!this.operations.isRunning(operationId)) throw notFound(`no operation ${operationId} runs on this host`);
    const tunnel = this.tunnels.get(operationId);
    if (tunnel) tunnel.offer(peer, replace);
    else {
      // of those that were cancelled before their turn
      for (const id of this.early.keys()) if (!this.operations.isRunning(id)) this.early.delete(id);
      this.early.set(operationId, peer);
    }
  }

  /** What lies in a drive is in use as well as what a volume is based on: its VM would not start without. */
  private async doRemove(digest: string): Promise<void> {
    const path = this.disks.imagePath(digest);
    for (const { uuid, name } of await this.hypervisor.list()) {
      const xml = await this.hypervisor.getXml(uuid).catch(unlessGone);
      const drive = drivesWith(xml, path)[0];
      if (drive !== undefined)
        throw new ClusterError('IN_USE', `image ${digest} is in use: it lies in drive ${drive} of vm ${name}`);
    }
    await this.disks.removeImage(digest);
  }

  private async doImport(w: ImportWanted, work: Work): Promise<ImageOutcome> {
    this.reading.add(w.uploadId);
    try {
      if (!(await this.disks.hasUpload(w.uploadId)))
        throw notFound(`upload ${w.uploadId} is not on this host; send the file again`);
      return await this.disks.importImage(w.uploadId, w.format, work);
    } finally {
      this.reading.delete(w.uploadId);
    }
  }

  private async doFetch(w: FetchWanted, work: Work): Promise<ImageOutcome> {
    const { operationId } = work;
    const has = (await this.disks.listImages()).find((i) => i.digest === w.digest);
    if (has) return { ...has, sourceDigest: '' };
    const tunnel = await this.peers.open(operationId, {
      onNeedsSource: (needed) => {
        work.needSource(needed);
        if (!needed) this.onBase();
      },
      onBlamed: (hostId, why) => work.turnAway(hostId, why),
      onSource: (hostId) => work.readFrom(hostId),
    });
    this.tunnels.set(operationId, tunnel);
    const early = this.early.get(operationId);
    if (early) tunnel.offer(early);
    try {
      const image = await this.disks.fetchImage(w, tunnel.socketPath, {
        ...{ signal: work.signal, onProgress: work.onProgress.bind(work), hashesSocket: tunnel.hashesPath },
        blame: (why) => tunnel.blame(why),
      });
      return { ...image, sourceDigest: '' };
    } finally {
      this.early.delete(operationId);
      this.tunnels.delete(operationId);
      await tunnel.close();
      this.onBase();
    }
  }
}
