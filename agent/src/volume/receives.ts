/** The operation that gets a volume of nobody from another host: its file, by a ticket that the controller brings, anew after a break. */
import { once } from 'node:events';
import { ClusterError, isClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { VolumeSeen, VolumeSpec } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { AllDisks, VolumeFile } from '../drivers/volume-work.ts';
import { checkBytes, checkDigest, checkId } from '../ids.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { dialPeer, splitAddress, type PeerSource } from '../peer/dial.ts';
import type { PeerIdentity } from '../peer/identity.ts';
import { receivedVolume } from '../peer/volume-frames.ts';
import { insistUnused } from './using.ts';

export interface ReceiveDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getRunningXml'>;
  readonly disks: AllDisks;
  readonly operations: Operations;
  readonly identity: PeerIdentity;
  readonly clock: Clock;
}

const RECEIVES_AT_ONCE = 2;
const MOST_TRIES = 20;
const CONNECT_MS = 10_000;
const SILENT_MS = 30_000;
const SECTOR = 512;
const MAX_DISK_BYTES = 2 ** 50 - SECTOR;

export function checkReceive(v: VolumeSpec): VolumeSpec {
  checkId('volume', v.volumeId);
  if (v.imageDigest !== undefined) checkDigest(v.imageDigest);
  checkBytes(`volume ${v.volumeId}: a size`, v.sizeBytes, SECTOR, MAX_DISK_BYTES);
  return v;
}

export class Receives {
  readonly receive: OperationKind<VolumeSpec>;
  /** Those that run, and who waits for a source. */
  private readonly running = new Map<string, (source: PeerSource) => void>();

  constructor(private readonly deps: ReceiveDeps) {
    this.receive = deps.operations.define<VolumeSpec>({
      ...{ name: 'volume.receive', long: { atOnce: RECEIVES_AT_ONCE } },
      lockKey: (v) => `volume/${v.volumeId}`,
      run: (v, work) => this.run(v, work),
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
  async serve(volumeId: string): Promise<VolumeFile> {
    const { disks, hypervisor } = this.deps;
    const volume = await disks.findVolume(volumeId);
    if (volume === undefined || volume.seed) throw notFound(`volume ${volumeId} is not on this host`);
    if (volume.vmId !== '') throw new ClusterError('IN_USE', `volume ${volumeId} belongs to ${volume.vmId}`);
    await insistUnused({ hypervisor, disks }, volume);
    return disks.work.read(volumeId);
  }

  private async run(spec: VolumeSpec, work: Work): Promise<void> {
    const there = await this.deps.disks.findVolume(spec.volumeId);
    if (there !== undefined) return insistSame(there, spec);
    for (let tries = 1; ; tries++) {
      if (work.signal.aborted) throw work.signal.reason;
      try {
        return await this.fetch(spec, await this.source(work), work);
      } catch (e) {
        if (!isClusterError(e, 'PEER_UNAVAILABLE') || tries >= MOST_TRIES || work.signal.aborted) throw e;
      }
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

  private async fetch(spec: VolumeSpec, source: PeerSource, work: Work): Promise<void> {
    const { disks, clock, identity } = this.deps;
    const options = { identity, clock, timeoutMs: CONNECT_MS, signal: work.signal, stream: 'volume' } as const;
    const socket = await dialPeer(source, options);
    const onAbort = (): void => void socket.destroy();
    work.signal.addEventListener('abort', onAbort, { once: true });
    try {
      await disks.work.install(spec, await receivedVolume(socket, clock, SILENT_MS), work);
    } finally {
      work.signal.removeEventListener('abort', onAbort);
      socket.destroy();
    }
  }
}

function insistSame(there: VolumeSeen, spec: VolumeSpec): void {
  if (there.vmId === '' && there.imageDigest === spec.imageDigest && (there.poolId ?? '') === (spec.poolId ?? ''))
    return;
  throw new ClusterError('ALREADY_EXISTS', `volume ${spec.volumeId} is on this host already, as another`);
}
