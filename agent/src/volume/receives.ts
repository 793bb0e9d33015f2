/**
 * The operation that gets a volume of nobody from another host: its file, by a ticket that the controller brings. In the host's own
 * folder it comes as an upload does that goes on after a break (resumable.ts), also of this agent, and becomes the volume when it is
 * whole; into a pool it goes as it comes, and goes on while this agent runs.
 */
import { once } from 'node:events';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { VolumeSeen, VolumeSpec } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { AllDisks, VolumeFile } from '../drivers/volume-work.ts';
import { checkCarriedLength } from '../drivers/carried.ts';
import { checkBytes, checkDigest, checkId, checkUploadId } from '../ids.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { splitAddress, type PeerSource } from '../peer/dial.ts';
import type { VolumeGrant } from '../peer/port.ts';
import type { PeerIdentity } from '../peer/identity.ts';
import { Incoming } from './incoming.ts';
import type { Uploads } from './uploads.ts';
import { insistUnused } from './using.ts';

export interface ReceiveDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getRunningXml'>;
  readonly disks: AllDisks;
  readonly uploads: Pick<Uploads, 'keep'>;
  readonly operations: Operations;
  readonly identity: PeerIdentity;
  readonly clock: Clock;
}

const RECEIVES_AT_ONCE = 2;
const SECTOR = 512;
const MAX_DISK_BYTES = 2 ** 50 - SECTOR;

export interface ReceiveWanted extends VolumeSpec {
  /** What comes lies here under this name until it is whole; it goes with the operation's job. */
  readonly uploadId: string;
}

export function checkReceive(v: ReceiveWanted): ReceiveWanted {
  checkUploadId(v.uploadId);
  checkId('volume', v.volumeId);
  if (v.imageDigest !== undefined) checkDigest(v.imageDigest);
  checkBytes(`volume ${v.volumeId}: a size`, v.sizeBytes, SECTOR, MAX_DISK_BYTES);
  return v;
}

export class Receives {
  readonly receive: OperationKind<ReceiveWanted>;
  /** Those that run, and who waits for a source. */
  private readonly running = new Map<string, (source: PeerSource) => void>();

  constructor(private readonly deps: ReceiveDeps) {
    this.receive = deps.operations.define<ReceiveWanted>({
      ...{ name: 'volume.receive', long: { atOnce: RECEIVES_AT_ONCE } },
      lockKey: (v) => `volume/${v.volumeId}`,
      run: (v, work) => this.run(v, work),
      succeeded: (v) => deps.disks.removeUpload(v.uploadId),
      abandon: (v) => deps.disks.removeUpload(v.uploadId),
    });
  }

  /** False: it is none of these. */
  offer(operationId: string, source: PeerSource): boolean {
    const take = this.running.get(operationId);
    if (take === undefined) return false;
    splitAddress(source.address);
    this.running.delete(operationId);
    take(source);
    return true;
  }

  /** For another host: of nobody, and not in use. @throws NOT_FOUND, IN_USE */
  async serve({ volumeId, exportId }: VolumeGrant): Promise<VolumeFile> {
    const { disks, hypervisor } = this.deps;
    const volume = await disks.findVolume(volumeId);
    if (volume === undefined || volume.seed) throw notFound(`volume ${volumeId} is not on this host`);
    if (volume.vmId !== '') throw new ClusterError('IN_USE', `volume ${volumeId} belongs to ${volume.vmId}`);
    await insistUnused({ hypervisor, disks }, volume);
    return exportId === '' ? disks.work.read(volumeId) : disks.work.staged(exportId);
  }

  private async run({ uploadId, ...spec }: ReceiveWanted, work: Work): Promise<void> {
    const { disks, identity, clock } = this.deps;
    const there = await disks.findVolume(spec.volumeId);
    if (there !== undefined) return insistSame(there, spec);
    const incoming = new Incoming({ identity, clock, signal: work.signal, source: () => this.source(work) });
    try {
      if (spec.poolId === undefined) await this.come(spec, uploadId, incoming, work);
      else await incoming.persist(async () => disks.work.install(spec, await incoming.file(), work));
    } finally {
      incoming.close();
    }
  }

  private async come(spec: VolumeSpec, uploadId: string, incoming: Incoming, work: Work): Promise<void> {
    const { disks, uploads } = this.deps;
    await uploads.keep(uploadId);
    await incoming.persist(() => this.goOn(spec, uploadId, incoming, work));
    work.signal.throwIfAborted();
    await disks.work.install(spec, await disks.work.staged(uploadId), work);
  }

  /** What is here of it already does not come again. */
  private async goOn(spec: VolumeSpec, uploadId: string, incoming: Incoming, work: Work): Promise<void> {
    const { resumable } = this.deps.disks;
    const have = await resumable.find(uploadId);
    if (have.whole) return;
    const volume = await incoming.open({ offset: have.receivedBytes, origin: have.origin || undefined });
    const { fileBytes, allocatedBytes, offset, origin = '' } = volume;
    checkCarriedLength(spec, fileBytes);
    const sink = await resumable.open(uploadId, { fileBytes, allocatedBytes, offset, origin });
    try {
      let at = offset;
      work.onProgress(at, fileBytes);
      for await (const piece of volume.pieces()) {
        await (typeof piece === 'number' ? sink.skip(piece) : sink.write(piece));
        work.onProgress((at += lengthOf(piece)), fileBytes);
      }
      await sink.finish(volume.sha256(), work.signal);
    } finally {
      await sink.close();
    }
  }

  private async source(work: Work): Promise<PeerSource> {
    const { operationId, signal } = work;
    const aborted = new AbortController();
    try {
      const offered = new Promise<PeerSource>((resolve) => this.running.set(operationId, resolve));
      work.needSource(true);
      const ended = once(signal, 'abort', { signal: aborted.signal }).then(() => {
        throw signal.reason;
      });
      ended.catch(() => undefined);
      return await Promise.race([offered, ended]);
    } finally {
      aborted.abort();
      this.running.delete(operationId);
      work.needSource(false);
    }
  }
}

function insistSame(there: VolumeSeen, spec: VolumeSpec): void {
  if (there.vmId === '' && there.imageDigest === spec.imageDigest && (there.poolId ?? '') === (spec.poolId ?? ''))
    return;
  throw new ClusterError('ALREADY_EXISTS', `volume ${spec.volumeId} is on this host already, as another`);
}
