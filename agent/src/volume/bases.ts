/**
 * Looks after guests whose image was not whole on this host when they were made: lets those go on that were paused because nobody
 * gave what they wanted to read, and moves them, live, from the socket to the image's file when it is whole. What there is to do
 * is looked up in libvirt and in the pool each time, so it does not matter when the agent ended in between.
 */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock, Timer } from '@berth/shared/runtime/clock.ts';
import type { Domains } from '../domain/domains.ts';
import { readMark } from '../domain/metadata.ts';
import { settleMoves } from '../domain/moved-disks.ts';
import { diskChains, type DiskChain } from '../domain/xml/chains.ts';
import { movedDiskXml } from '../domain/xml/disk.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';

export interface BaseDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getXml' | 'getRunningXml' | 'resume' | 'copies' | 'subscribe'>;
  readonly disks: Disks;
  readonly domains: Pick<Domains, 'restate'>;
  /** The pool takes O_DIRECT. */
  readonly directIo: () => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
}

/** While there is anything to look after. */
const ROUND_MS = 1_000;
const COPY_LOOK_MS = 100;
const MOST_TRIES = 10;
/** A guest may have written much by then. */
const COPY_MS = 3_600_000;
const ON: ReadonlySet<string> = new Set(['running', 'paused', 'stopping', 'suspended']);

/** A guest with its volumes on one image. */
interface Resting {
  readonly domain: DomainSeen;
  readonly vmId: string;
  readonly volumes: readonly VolumeSeen[];
}

export class Bases {
  private timer: Timer | undefined;
  private round: Promise<void> | undefined;
  private unsubscribe: (() => void) | undefined;
  private stopped = false;
  private lastFailure = '';
  /** How often each was told to go on since it moved. */
  private readonly tries = new Map<string, number>();

  constructor(private readonly deps: BaseDeps) {}

  start(): void {
    this.unsubscribe = this.deps.hypervisor.subscribe((e) => {
      if (e.type === 'connected' || (e.type === 'domain' && e.seen?.reason === 'io-error')) this.nudge();
    });
    this.nudge();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.unsubscribe?.();
    await this.round;
  }

  /** Something may have changed: an image is whole, a source is there again. */
  nudge(): void {
    this.schedule(0);
  }

  private schedule(ms: number): void {
    if (this.stopped) return;
    this.timer?.cancel();
    this.timer = this.deps.clock.after(ms, () => {
      this.round ??= this.lookAfterAll().finally(() => (this.round = undefined));
    });
  }

  private async lookAfterAll(): Promise<void> {
    let more = false;
    try {
      const volumes = (await this.deps.disks.listVolumes()).filter((v) => v.imageDigest !== undefined && !v.seed);
      for (const digest of new Set(volumes.map((v) => v.imageDigest!)))
        if (await this.deps.disks.hasBase(digest))
          more =
            (await this.lookAfter(
              digest,
              volumes.filter((v) => v.imageDigest === digest),
            )) || more;
      this.lastFailure = '';
    } catch (e) {
      more = true;
      this.noteFailure(e);
    }
    if (more) this.schedule(ROUND_MS);
  }

  /** True when there is more to do. */
  private async lookAfter(digest: string, volumes: readonly VolumeSeen[]): Promise<boolean> {
    const resting = await this.restingOn(volumes);
    const served = await this.deps.disks.isBaseServed(digest);
    if (served) for (const r of resting) await this.letGoOn(r);
    if (volumes.some((v) => v.filling === true)) return true;
    await this.deps.disks.openBase(digest);
    let left = false;
    for (const r of resting) left = !(await this.moved(r)) || left;
    left ||= await this.isRead(digest, volumes);
    if (!left) await this.deps.disks.endBase(digest);
    return left;
  }

  /** By one that was defined or started since it was looked for. */
  private async isRead(digest: string, volumes: readonly VolumeSeen[]): Promise<boolean> {
    const { hypervisor, disks } = this.deps;
    const socket = disks.baseSocket(digest);
    for (const { domain } of await this.restingOn(volumes)) {
      const xml = ON.has(domain.power) ? hypervisor.getRunningXml(domain.uuid) : hypervisor.getXml(domain.uuid);
      const chains = await xml.then(diskChains, (e: unknown) => {
        if (isClusterError(e, 'NOT_FOUND')) return []; // it was removed meanwhile
        throw e;
      });
      if (chains.some((d) => d.socket === socket)) return true;
    }
    return false;
  }

  private async restingOn(volumes: readonly VolumeSeen[]): Promise<readonly Resting[]> {
    const domains = await this.deps.hypervisor.list();
    return domains.flatMap((domain) => {
      const vmId = readMark(domain.metadataXml)?.vmId;
      const own = volumes.filter((v) => v.vmId === vmId);
      return vmId === undefined || own.length === 0 ? [] : [{ domain, vmId, volumes: own }];
    });
  }

  /** The first try after a source has come back may only make QEMU connect to it: then it is paused again, and tried again. */
  private async letGoOn({ domain }: Resting): Promise<void> {
    if (domain.power !== 'paused' || domain.reason !== 'io-error') return;
    const chains = diskChains(await this.deps.hypervisor.getRunningXml(domain.uuid));
    if (!chains.some((d) => d.socket !== undefined)) return;
    await this.deps.hypervisor.resume(domain.uuid);
    this.deps.log.info({ vm: domain.name }, 'a guest goes on: what it reads is to be had again');
  }

  /** True when nothing of it rests on the socket any more. */
  private async moved(resting: Resting): Promise<boolean> {
    const { domain, vmId, volumes } = resting;
    try {
      if (!ON.has(domain.power)) await this.settleOff(resting);
      else {
        await this.moveRunning(resting);
        return await this.runsOn(domain);
      }
      return true;
    } catch (e) {
      if (isClusterError(e, 'NOT_FOUND')) return true; // it was removed meanwhile
      this.noteFailure(e, { vm: domain.name, vmId, volumes: volumes.map((v) => v.volumeId) });
      return false;
    }
  }

  private async moveRunning({ domain, vmId, volumes }: Resting): Promise<void> {
    const { hypervisor, disks, domains, log } = this.deps;
    const { uuid, name } = domain;
    let restate = false;
    for (const volume of volumes) {
      const files = [disks.volumePath(volume.volumeId, false, volume.format), disks.movedPath(volume.volumeId)];
      const now = diskChains(await hypervisor.getRunningXml(uuid)).find((d) => files.includes(d.file));
      if (now === undefined) continue;
      if (now.socket !== undefined) {
        await this.move(uuid, now, volume);
        log.info({ vm: name, disk: now.target }, 'the image of a running guest is whole: it has moved to the file');
      }
      if (now.socket === undefined && now.file !== files[1]) continue;
      await disks.finishMove(volume.volumeId);
      restate = true;
    }
    const stored = diskChains(await hypervisor.getXml(uuid));
    if (restate || stored.some((d) => d.socket !== undefined)) await domains.restate({ uuid, vmId });
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
    const { hypervisor, disks, clock, directIo } = this.deps;
    const { copies } = hypervisor;
    if (!disk.copying) {
      const file = await disks.beginMove(volume.volumeId);
      const destXml = movedDiskXml(file, disks.imagePath(volume.imageDigest!), await directIo());
      await copies.begin(uuid, disk.target, destXml);
    }
    for (const deadline = clock.monotonic() + COPY_MS; ; await clock.sleep(COPY_LOOK_MS)) {
      const progress = await copies.progress(uuid, disk.target);
      if (progress === undefined || this.stopped) throw new Error(`the copy of disk ${disk.target} has ended`);
      if (progress.ready) return copies.pivot(uuid, disk.target);
      if (clock.monotonic() > deadline) await copies.abort(uuid, disk.target);
    }
  }

  private async settleOff({ domain, vmId, volumes }: Resting): Promise<void> {
    const { hypervisor, disks, domains } = this.deps;
    const ids = volumes.map((v) => v.volumeId);
    const stored = await hypervisor.getXml(domain.uuid);
    const isMoved = await settleMoves(async () => stored, ids, disks);
    if (isMoved || diskChains(stored).some((d) => d.socket !== undefined))
      await domains.restate({ uuid: domain.uuid, vmId });
    for (const id of ids) await disks.endMove(id);
  }

  private noteFailure(e: unknown, about: object = {}): void {
    const why = chain(e);
    this.deps.log[why === this.lastFailure ? 'debug' : 'warn'](
      { ...about, err: e },
      'guests that rest on a socket cannot be looked after',
    );
    this.lastFailure = why;
  }
}
