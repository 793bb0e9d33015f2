/**
 * One guest on an image that is whole by now: has libvirt copy its disks' own files into new ones over the image's file, live, and
 * tells what there is to do with it later. Each guest has a turn of its own, so that one whose copy takes hours, or fails for want
 * of room, holds nobody up. When to look is bases.ts's.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Domains } from '../domain/domains.ts';
import { settleOff } from '../domain/moved-disks.ts';
import { diskChains, type DiskChain } from '../domain/xml/chains.ts';
import { movedDiskXml } from '../domain/xml/disk.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import { filesOf } from './using.ts';

export interface MoveDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getXml' | 'getRunningXml' | 'getSavedXml' | 'resume' | 'copies'>;
  readonly disks: Disks;
  readonly domains: Pick<Domains, 'restate'>;
  /** The pool takes O_DIRECT. */
  readonly directIo: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
  /** The agent ends: copies that run are left to libvirt, and found again. */
  readonly stopped: () => boolean;
}

/** A guest with its volumes on one image. */
export interface Resting {
  readonly domain: DomainSeen;
  readonly vmId: string;
  readonly volumes: readonly VolumeSeen[];
}

/** It rests on the socket no more. */
export const FREE = 0;
/** It needs the socket when it goes on from what was saved, and there is nothing to do until then. */
export const HELD = Infinity;
/** While there is anything to look after. */
export const ROUND_MS = 1_000;

const COPY_LOOK_MS = 100;
const MOST_TRIES = 10;
/** A guest may have written much by then. */
const COPY_MS = 3_600_000;
/** After a move that failed, doubled each time: it costs the disk a copy of what the guest wrote. */
const BACK_OFF_MS = 120_000;
const MOST_BACK_OFF_MS = 1_800_000;
/** Each copy costs the disk what it can. */
const MOST_AT_ONCE = 4;
export const ON: ReadonlySet<string> = new Set(['running', 'paused', 'stopping', 'suspended']);

export const isSaved = ({ power, reason }: DomainSeen): boolean => !ON.has(power) && reason === 'saved';

interface Failed {
  readonly times: number;
  readonly untilMs: number;
}

export class BaseMoves {
  /** How often each was told to go on since it moved. */
  private readonly tries = new Map<string, number>();
  private readonly failed = new Map<string, Failed>();
  private moving = 0;

  constructor(private readonly deps: MoveDeps) {}

  /** @returns after how many milliseconds it is to be looked at again; FREE, HELD */
  async settle(resting: Resting, socket: string): Promise<number> {
    const { domain } = resting;
    try {
      if (ON.has(domain.power)) return await this.settleOn(resting);
      await this.settleOff(resting);
      return isSaved(domain) && (await this.goesOnBy(domain, socket)) ? HELD : FREE;
    } catch (e) {
      if (isClusterError(e, 'NOT_FOUND')) return FREE; // it was removed meanwhile
      throw e;
    }
  }

  /** One that is saved reads through the socket when it goes on; so does one of which libvirt cannot tell. */
  async goesOnBy({ uuid }: DomainSeen, socket: string): Promise<boolean> {
    const xml = await this.deps.hypervisor.getSavedXml(uuid);
    return xml === undefined || diskChains(xml).some((d) => d.socket === socket);
  }

  private async settleOn(resting: Resting): Promise<number> {
    const { uuid } = resting.domain;
    const waitMs = (this.failed.get(uuid)?.untilMs ?? 0) - this.deps.clock.monotonic();
    if (waitMs > 0) return waitMs;
    if (!(await this.moveRunning(resting))) return ROUND_MS;
    return (await this.runsOn(resting.domain)) ? FREE : ROUND_MS;
  }

  /** False: others have their turn before. */
  private async moveRunning({ domain, vmId, volumes }: Resting): Promise<boolean> {
    const { hypervisor, disks, domains, log } = this.deps;
    const { uuid, name } = domain;
    for (const volume of volumes) {
      const files = filesOf(disks, volume);
      const now = diskChains(await hypervisor.getRunningXml(uuid)).find((d) => files.includes(d.file));
      if (now === undefined) continue;
      if (now.socket !== undefined) {
        if (this.moving >= MOST_AT_ONCE) return false;
        await this.move(uuid, now, volume);
        log.info({ vm: name, disk: now.target }, 'the image of a running guest is whole: it has moved to the file');
      }
      if (now.socket === undefined && now.file !== disks.movedPath(volume.volumeId)) continue;
      await disks.finishMove(volume.volumeId);
    }
    const moved = new Set(volumes.map((v) => disks.movedPath(v.volumeId)));
    const stored = diskChains(await hypervisor.getXml(uuid));
    if (stored.some((d) => d.socket !== undefined || moved.has(d.file))) await domains.restate({ uuid, vmId });
    return true;
  }

  /** Of one that was paused for what it read through the socket: on the file it goes on. False: look again. */
  private async runsOn({ uuid, name }: DomainSeen): Promise<boolean> {
    const now = (await this.deps.hypervisor.list()).find((d) => d.uuid === uuid);
    const tries = this.tries.get(uuid) ?? 0;
    // longer than so it is something else that fails
    if (now?.power !== 'paused' || now.reason !== 'io-error' || tries >= MOST_TRIES)
      return this.tries.delete(uuid) || true;
    this.tries.set(uuid, tries + 1);
    await this.deps.hypervisor.resume(uuid);
    this.deps.log.info({ vm: name }, 'a guest goes on, on the file');
    return false;
  }

  private async move(uuid: string, disk: DiskChain, volume: VolumeSeen): Promise<void> {
    const { clock, stopped } = this.deps;
    this.moving++;
    try {
      await this.copyOver(uuid, disk, volume);
      this.failed.delete(uuid);
    } catch (e) {
      if (!stopped() && (await this.givenUp(uuid, volume))) {
        const times = (this.failed.get(uuid)?.times ?? 0) + 1;
        const ms = Math.min(BACK_OFF_MS * 2 ** (times - 1), MOST_BACK_OFF_MS);
        this.failed.set(uuid, { times, untilMs: clock.monotonic() + ms });
      }
      throw e;
    } finally {
      this.moving--;
    }
  }

  private async copyOver(uuid: string, disk: DiskChain, volume: VolumeSeen): Promise<void> {
    const { hypervisor, disks, clock, directIo, stopped } = this.deps;
    const { copies } = hypervisor;
    if (!disk.copying) {
      const file = await disks.beginMove(volume.volumeId);
      const destXml = movedDiskXml(file, disks.imagePath(volume.imageDigest!), await directIo());
      await copies.begin(uuid, disk.target, destXml);
    }
    for (const deadline = clock.monotonic() + COPY_MS; ; await clock.sleep(COPY_LOOK_MS)) {
      const progress = await copies.progress(uuid, disk.target);
      if (progress === undefined || stopped()) throw new Error(`the copy of disk ${disk.target} has ended`);
      if (progress.ready) return copies.pivot(uuid, disk.target);
      if (clock.monotonic() > deadline) await copies.abort(uuid, disk.target);
    }
  }

  /** The half copy gives its room back, unless it is in use, or may be. */
  private async givenUp(uuid: string, { volumeId }: VolumeSeen): Promise<boolean> {
    const { hypervisor, disks } = this.deps;
    try {
      const now = diskChains(await hypervisor.getRunningXml(uuid));
      const files = [
        disks.movedPath(volumeId),
        ...(['qcow2', 'raw'] as const).map((f) => disks.volumePath(volumeId, false, f)),
      ];
      const disk = now.find((d) => files.includes(d.file));
      if (disk === undefined || disk.copying || disk.file === files[0]) return false;
      await disks.endMove(volumeId);
      return true;
    } catch {
      return false; // libvirt is away, or the guest is off: looked at again
    }
  }

  private async settleOff({ domain, vmId, volumes }: Resting): Promise<void> {
    const ids = volumes.map((v) => v.volumeId);
    await settleOff(this.deps, { uuid: domain.uuid, vmId }, ids, isSaved(domain));
  }
}
