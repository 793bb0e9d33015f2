/**
 * Lets guests go on that were paused because a disk could not grow, once there is room again where their disks lie. Nobody else's:
 * a guest that a person suspended, or whose disk failed otherwise, is left as it is. QEMU repeats the write that found no room, so
 * the guest has lost nothing.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import { formatBytes } from '@berth/shared/units/bytes.ts';
import type { Disks } from '../drivers/disks.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import { readMark } from '../domain/metadata.ts';
import type { PoolWatch } from './pool-watch.ts';

export interface SpaceDeps {
  readonly hypervisor: Pick<Hypervisor, 'subscribe' | 'list' | 'resume'>;
  readonly disks: Pick<Disks, 'capacity' | 'listVolumes'>;
  readonly watch: Pick<PoolWatch, 'room'>;
  readonly clock: Clock;
  readonly log: Log;
}

const LOOK_EVERY_MS = 2_000;
/** One that fills up again at once is not let go more often than that. */
const AGAIN_MS = 5_000;
/** So much must be free: a share of all, and no more than is plenty. */
const SHARE = 0.01;
const PLENTY_BYTES = 256 * 2 ** 20;

interface Room {
  readonly allBytes: number;
  readonly freeBytes: number;
}

export class SpaceKeeper {
  private timer: Timer | undefined;
  private end: (() => void) | undefined;
  private looking = false;
  private stopped = false;
  private readonly resumed = new Map<string, number>();

  constructor(private readonly deps: SpaceDeps) {}

  start(): void {
    this.end = this.deps.hypervisor.subscribe((e) => {
      if (e.type === 'connected' || (e.type === 'domain' && e.seen?.reason === 'no-space')) this.soon();
    });
  }

  stop(): void {
    this.stopped = true;
    this.end?.();
    this.timer?.cancel();
  }

  private soon(): void {
    if (this.stopped || this.timer !== undefined) return;
    this.timer = this.deps.clock.after(LOOK_EVERY_MS, () => {
      this.timer = undefined;
      void this.round();
    });
  }

  private async round(): Promise<void> {
    if (this.looking) return;
    this.looking = true;
    try {
      const waiting = (await this.deps.hypervisor.list()).filter(
        (d) => d.power === 'paused' && d.reason === 'no-space',
      );
      for (const d of waiting) await this.look(d);
      if (waiting.length > 0) this.soon();
    } catch (e) {
      // told of elsewhere; when libvirt is back, this begins anew
      if (!isClusterError(e, 'HYPERVISOR_UNAVAILABLE'))
        this.deps.log.warn({ err: e }, 'paused guests could not be looked at');
      if (!isClusterError(e, 'HYPERVISOR_UNAVAILABLE')) this.soon();
    } finally {
      this.looking = false;
    }
  }

  private async look(d: DomainSeen): Promise<void> {
    const { hypervisor, clock, log } = this.deps;
    const vmId = readMark(d.metadataXml)?.vmId;
    const last = this.resumed.get(d.uuid) ?? -Infinity;
    if (vmId === undefined || clock.monotonic() - last < AGAIN_MS) return;
    const rooms = await this.roomsOf(vmId);
    if (rooms === undefined || !rooms.every(isEnough)) return;
    this.resumed.set(d.uuid, clock.monotonic());
    await hypervisor.resume(d.uuid);
    const free = formatBytes(Math.min(...rooms.map((r) => r.freeBytes)));
    log.info({ vm: d.name, free }, 'a guest that had found no room on its disks goes on: there is room again');
  }

  /** Where its disks lie; undefined: not known of all of them. */
  private async roomsOf(vmId: string): Promise<readonly Room[] | undefined> {
    const { disks, watch } = this.deps;
    const pools = new Set((await disks.listVolumes()).filter((v) => v.vmId === vmId).map((v) => v.poolId));
    const rooms: Room[] = [];
    for (const poolId of pools) {
      if (poolId === undefined) {
        const { diskBytes, diskFreeBytes } = await disks.capacity();
        rooms.push({ allBytes: diskBytes, freeBytes: diskFreeBytes });
        continue;
      }
      const seen = await watch.room(poolId);
      if (seen?.state !== 'active') return undefined;
      rooms.push({ allBytes: seen.capacityBytes, freeBytes: seen.availableBytes });
    }
    return rooms;
  }
}

const isEnough = (r: Room): boolean => r.freeBytes >= Math.min(PLENTY_BYTES, r.allBytes * SHARE);
