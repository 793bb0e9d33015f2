/**
 * One guest on an image that is whole by now: has libvirt copy its disks' own files into new ones over the image's file, live, and
 * from there back under their own names, and tells what there is to do with it later. Each guest has a turn of its own, so that one
 * whose copy takes hours, or fails for want of room, holds nobody up. When to look is bases.ts's.
 */
import { badState, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Domains } from '../domain/domains.ts';
import { settleOff } from '../domain/moved-disks.ts';
import { diskChains, type DiskChain } from '../domain/xml/chains.ts';
import { copiedDiskXml } from '../domain/xml/disk.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';

export interface MoveDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getXml' | 'getRunningXml' | 'getSavedXml' | 'resume' | 'copies'>;
  readonly disks: Disks;
  readonly domains: Pick<Domains, 'restate'>;
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

/** It rests on nothing but the image's file, under its disks' own names. */
export const FREE = 0;
/** It is saved, and goes on by what it read, and by the names that it had, then: there is nothing to do until then. */
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
  private copies = 0;

  constructor(private readonly deps: MoveDeps) {}

  /** @returns after how many milliseconds it is to be looked at again; FREE, HELD */
  async settle(resting: Resting, socket: string): Promise<number> {
    const { domain } = resting;
    try {
      if (ON.has(domain.power)) return await this.settleOn(resting);
      await this.settleOff(resting);
      if (!isSaved(domain)) return FREE;
      return (await this.moving(resting)).length > 0 || (await this.goesOnBy(domain, socket)) ? HELD : FREE;
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
    const { domain, volumes } = resting;
    const waitMs = (this.failed.get(domain.uuid)?.untilMs ?? 0) - this.deps.clock.monotonic();
    if (waitMs > 0) return waitMs;
    for (const volume of volumes) if (!(await this.moveDisk(domain, volume))) return ROUND_MS;
    await this.endMoves(resting);
    return (await this.runsOn(domain)) ? FREE : ROUND_MS;
  }

  /** From the socket to the second file, from the second to the first. False: others have their turn before. */
  private async moveDisk(domain: DomainSeen, volume: VolumeSeen): Promise<boolean> {
    const [own, second] = this.filesOf(volume);
    for (;;) {
      const now = await this.runningDisk(domain.uuid, volume);
      if (now === undefined || (now.file === own && now.socket === undefined)) return true;
      const to = now.file === own ? second : own;
      if (this.copies >= MOST_AT_ONCE || (now.copying && now.copyTo !== to)) return false;
      await this.move(domain.uuid, now, volume);
      this.deps.log.info(
        { vm: domain.name, disk: now.target, to },
        'a guest whose image is whole has moved to the file',
      );
      await this.runsOn(domain);
    }
  }

  private async runningDisk(uuid: string, volume: VolumeSeen): Promise<DiskChain | undefined> {
    const files = this.filesOf(volume);
    return diskChains(await this.deps.hypervisor.getRunningXml(uuid)).find((d) => files.includes(d.file));
  }

  private filesOf({ volumeId }: VolumeSeen): readonly [string, string] {
    const { disks } = this.deps;
    return [disks.volumePath(volumeId, false), disks.movedPath(volumeId)];
  }

  /** The guest is on its disks' own files: the definition says so, and then the others go. */
  private async endMoves({ domain, vmId, volumes }: Resting): Promise<void> {
    const { hypervisor, disks, domains } = this.deps;
    const { uuid } = domain;
    const running = diskChains(await hypervisor.getRunningXml(uuid)).map((d) => d.file);
    const moved = (await this.moving({ volumes })).filter((v) => running.includes(this.filesOf(v)[0]));
    if (moved.length > 0 || diskChains(await hypervisor.getXml(uuid)).some((d) => d.socket !== undefined))
      await domains.restate({ uuid, vmId });
    for (const { volumeId } of moved) await disks.endMove(volumeId);
  }

  private async moving({ volumes }: Pick<Resting, 'volumes'>): Promise<readonly VolumeSeen[]> {
    const is = await Promise.all(volumes.map((v) => this.deps.disks.isMoving(v.volumeId)));
    return volumes.filter((_, i) => is[i]);
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
    this.copies++;
    try {
      await this.copyOver(uuid, disk, volume);
      this.failed.delete(uuid);
    } catch (e) {
      if (!stopped() && (await this.givenUp(uuid, volume, disk))) {
        const times = (this.failed.get(uuid)?.times ?? 0) + 1;
        const ms = Math.min(BACK_OFF_MS * 2 ** (times - 1), MOST_BACK_OFF_MS);
        this.failed.set(uuid, { times, untilMs: clock.monotonic() + ms });
      }
      throw e;
    } finally {
      this.copies--;
    }
  }

  private async copyOver(uuid: string, disk: DiskChain, volume: VolumeSeen): Promise<void> {
    const { hypervisor, clock, stopped } = this.deps;
    const { copies } = hypervisor;
    if (!disk.copying) await this.beginCopy(uuid, disk, volume);
    for (const deadline = clock.monotonic() + COPY_MS; ; await clock.sleep(COPY_LOOK_MS)) {
      const progress = await copies.progress(uuid, disk.target);
      if (progress === undefined || stopped()) throw new Error(`the copy of disk ${disk.target} has ended`);
      if (progress.ready) return copies.pivot(uuid, disk.target);
      if (clock.monotonic() > deadline) await copies.abort(uuid, disk.target);
    }
  }

  private async beginCopy(uuid: string, disk: DiskChain, volume: VolumeSeen): Promise<void> {
    const { hypervisor, disks } = this.deps;
    // before the first file is overwritten: if the guest ends, the second is the disk
    if (disk.file === disks.movedPath(volume.volumeId)) await this.insistStored(uuid, disk.file, volume);
    const backingPath = disks.imagePath(volume.imageDigest!);
    const file = await disks.beginMove(volume.volumeId, disk.file);
    // the guest keeps its way to use the host's cache
    const destXml = copiedDiskXml({ file, format: 'qcow2', backingPath, directIo: disk.directIo });
    await hypervisor.copies.begin(uuid, disk.target, destXml);
  }

  /** libvirt has written it there, unless somebody has defined the domain anew since. */
  private async insistStored(uuid: string, file: string, { vmId }: VolumeSeen): Promise<void> {
    const { hypervisor, domains } = this.deps;
    const isStored = async () => diskChains(await hypervisor.getXml(uuid)).some((d) => d.file === file);
    if (await isStored()) return;
    await domains.restate({ uuid, vmId });
    if (!(await isStored()))
      throw badState(`the definition of domain ${uuid} does not have ${file}, which its guest has`);
  }

  /** The half copy gives its room back, unless it is in use, or may be. */
  private async givenUp(uuid: string, volume: VolumeSeen, { file }: DiskChain): Promise<boolean> {
    const { disks } = this.deps;
    try {
      const now = await this.runningDisk(uuid, volume);
      if (now === undefined || now.copying || now.file !== file) return false;
      // what was to be the first again is no disk yet, and that name shall lead to what is
      await (file === disks.movedPath(volume.volumeId) ? disks.finishMove : disks.endMove)(volume.volumeId);
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
