/**
 * The operations that move a volume from one pool of this host to another: a copy of its file while nobody has it, or, of a guest that
 * runs, a mirror by libvirt and a change over to it. Everything is looked up anew each time (the record, the note of the move, what
 * libvirt says that the guest has), so that it does not matter where the agent, libvirt or the guest ended in between. At any moment
 * one file is the disk; the other goes when all records say so, which is `finish`, or when the move is given up.
 */
import { badState, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Domains } from '../domain/domains.ts';
import { readMark } from '../domain/metadata.ts';
import { diskChains, type DiskChain } from '../domain/xml/chains.ts';
import { copiedDiskXml } from '../domain/xml/disk.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import type { AllDisks, VolumePlaces } from '../drivers/volume-work.ts';
import { checkId } from '../ids.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { refuseSnapshots } from './snapshots-in.ts';
import { userOf } from './using.ts';
import { insistWhole } from './whole.ts';

export interface MoveWanted {
  readonly volumeId: string;
  /** A pool of this host; empty: its own folder. */
  readonly to: string;
  /** What is in its image goes along, and it rests on none there. */
  readonly full?: boolean;
}

export interface MoveDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getXml' | 'getRunningXml' | 'copies' | 'snapshots'>;
  readonly disks: AllDisks;
  readonly places: VolumePlaces;
  readonly domains: Pick<Domains, 'restate'>;
  /** Of the host's own folder. */
  readonly directIo: () => Promise<boolean>;
  readonly operations: Operations;
  readonly clock: Clock;
  readonly log: Log;
}

/** Each reads and writes as fast as the disks go. */
const MOVES_AT_ONCE = 2;
const LOOK_MS = 200;
/** A guest that starts, ends or is moved by somebody else meanwhile: looked at anew so often. */
const MOST_LOOKS = 10;
const ON: ReadonlySet<string> = new Set(['running', 'paused', 'stopping', 'suspended']);

export const checkMove = (w: MoveWanted): MoveWanted => {
  checkId('volume', w.volumeId);
  if (w.to !== '') checkId('pool', w.to);
  return w;
};

/** A volume, the two paths that it may lie at, and who has it. */
interface Looked {
  readonly volume: VolumeSeen;
  readonly from: string;
  readonly to: string;
  readonly domain: DomainSeen | undefined;
  /** Of the guest that runs, or of what is stored of one that does not. */
  readonly disk: DiskChain | undefined;
  readonly on: boolean;
  /** Its guest has changed over to the new file, whatever the records say. */
  readonly over: boolean;
}

export class VolumeMoves {
  readonly move: OperationKind<MoveWanted>;
  readonly finish: OperationKind<string>;

  constructor(private readonly deps: MoveDeps) {
    const { operations } = deps;
    this.move = operations.define<MoveWanted>({
      ...{ name: 'volume.move', long: { atOnce: MOVES_AT_ONCE } },
      lockKey: (w) => `volume/${w.volumeId}`,
      run: (w, work) => this.doMove(w, work),
      abandon: (w) => this.giveUp(w.volumeId, w.to),
    });
    this.finish = operations.define<string>({
      name: 'volume.finishMove',
      lockKey: (id) => `volume/${id}`,
      run: (id) => this.doFinish(id),
    });
  }

  private async doMove(w: MoveWanted, work: Work): Promise<void> {
    const { volumeId, to } = w;
    const { places } = this.deps;
    const begun = new Set<string>();
    for (let looks = 0; looks < MOST_LOOKS; looks++) {
      const noted = places.moving(volumeId);
      const home = await places.home(volumeId);
      if (home === to && (noted === undefined || (noted.to === to && (await this.isDefinedThere(volumeId))))) return;
      if (work.signal.aborted) throw work.signal.reason;
      // its former place has it as it was, and nobody could start with it since
      if (noted?.was && !noted.mirror && home === noted.to && to === noted.from) return this.goBack(volumeId);
      // of another way, or of this one back: settled before anything new begins
      if (noted && (noted.to !== to || noted.from !== home)) await this.settleOther(volumeId, noted);
      else if (await this.once(w, work, begun)) return;
    }
    throw badState(`volume ${volumeId} could not be moved: its vm starts and stops all the time. Try again`);
  }

  /** False: an agent that was killed had not come to that, and the guest was started by hand meanwhile, with the former file. */
  private async isDefinedThere(volumeId: string): Promise<boolean> {
    const l = await this.look(volumeId);
    if (!l.domain || l.disk?.file !== l.from) return true;
    const isUsed = l.on || l.domain.reason === 'saved';
    if (isUsed) await this.deps.places.change(volumeId, { back: true });
    else await this.deps.domains.restate({ uuid: l.domain.uuid, vmId: l.volume.vmId });
    return !isUsed;
  }

  private async goBack(volumeId: string): Promise<void> {
    const { places, domains } = this.deps;
    const l = await this.look(volumeId);
    await this.insistUnused(l.volume, l.to);
    await places.change(volumeId, { back: true });
    if (l.domain) await domains.restate({ uuid: l.domain.uuid, vmId: l.volume.vmId });
    await places.end(volumeId);
  }

  private async settleOther(volumeId: string, noted: { readonly from: string; readonly to: string }): Promise<void> {
    if ((await this.deps.places.home(volumeId)) === noted.to) return this.doFinish(volumeId);
    await this.giveUp(volumeId, noted.to);
    // its guest had changed over already
    if ((await this.deps.places.home(volumeId)) === noted.to) await this.doFinish(volumeId);
  }

  /** False: look again. */
  private async once(w: MoveWanted, work: Work, begun: Set<string>): Promise<boolean> {
    const { places, disks } = this.deps;
    const volume = await this.need(w.volumeId);
    await insistWhole(disks, volume);
    const { imageDigest } = volume;
    if (imageDigest !== undefined && ((await disks.hasBase(imageDigest)) || (await disks.isMoving(volume.volumeId))))
      throw badState(`volume ${w.volumeId} is just leaving the copy that its image came with. Try again in a moment`);
    if (volume.growing)
      throw badState(
        `volume ${w.volumeId} was being made larger, and that did not end. Do it again (berth volume resize), then move it`,
      );
    if (places.moving(w.volumeId) === undefined) await refuseSnapshots(this.deps, volume);
    await places.begin(w.volumeId, w.to, { full: w.full === true });
    const looked = await this.look(w.volumeId);
    if (looked.over) return this.changeOver(looked);
    if (!looked.on) return this.copy(looked, work);
    if (begun.has(w.volumeId) && looked.disk?.copying === false)
      throw badState(
        `the copy of volume ${w.volumeId} under vm ${looked.domain!.name} ended before its time. Is there room in the pool? Try again`,
      );
    begun.add(w.volumeId);
    return this.mirror(looked, work);
  }

  private async mirror(l: Looked, work: Work): Promise<boolean> {
    const { copies } = this.deps.hypervisor;
    const { uuid, name } = l.domain!;
    const { disk, volume } = l;
    if (disk === undefined) throw badState(`vm ${name} runs without volume ${volume.volumeId}: it is being changed`);
    if (disk.copying && disk.copyTo !== l.to)
      throw new ClusterError('RESOURCE_BUSY', `disk ${disk.target} of vm ${name} is being copied by somebody else`);
    if (!disk.copying) await this.beginMirror(l, disk);
    for (;;) {
      const progress = await copies.progress(uuid, disk.target);
      // the guest has ended, or QEMU gave the copy up
      if (progress === undefined) return false;
      work.onProgress(progress.doneBytes, progress.totalBytes);
      if (work.signal.aborted) throw work.signal.reason;
      if (progress.ready) break;
      await this.deps.clock.sleep(LOOK_MS);
    }
    await copies.pivot(uuid, disk.target);
    return false;
  }

  private async beginMirror({ volume, domain }: Looked, { target, directIo: isDirect }: DiskChain): Promise<void> {
    const { places, hypervisor, directIo, log } = this.deps;
    const to = await places.prepare(volume.volumeId);
    if (isDirect && !(to.directIo ?? (await directIo())))
      throw badState(
        `vm ${domain!.name} has disk ${target} open without the cache of the host, which the pool cannot do. ` +
          `Stop it, then move the disk`,
      );
    // the guest keeps its way to use the cache; what is written down for its next start is the usual one
    const destXml = copiedDiskXml({ ...to, directIo: isDirect });
    await hypervisor.copies.begin(domain!.uuid, target, destXml, { deep: to.deep === true });
    log.info({ vm: domain!.name, disk: target, to: to.file }, 'a disk of a running guest is copied to another pool');
  }

  /** Of nobody, or of a VM that is off. */
  private async copy(l: Looked, work: Work): Promise<boolean> {
    const { places } = this.deps;
    const { volumeId } = l.volume;
    if (l.domain?.reason === 'saved')
      throw badState(
        `vm ${l.domain.name} is saved, and goes on with its disks where they are. Start it, then move them`,
      );
    await this.insistUnused(l.volume, l.from);
    await places.copy(volumeId, work);
    if (work.signal.aborted) throw work.signal.reason;
    // started by hand on its host meanwhile: what it wrote is not in the copy
    await this.insistUnused(l.volume, l.from);
    return this.changeOver(l);
  }

  private async changeOver(l: Looked): Promise<boolean> {
    const { places, domains } = this.deps;
    await places.change(l.volume.volumeId);
    try {
      if (l.domain) await domains.restate({ uuid: l.domain.uuid, vmId: l.volume.vmId });
      await this.insistUnused(l.volume, l.from);
    } catch (e) {
      if (l.on) throw e;
      await places.change(l.volume.volumeId, { back: true });
      if (l.domain) await domains.restate({ uuid: l.domain.uuid, vmId: l.volume.vmId });
      throw e;
    }
    return true;
  }

  /** What was moved stays where it is; the file that it had before goes. */
  private async doFinish(volumeId: string): Promise<void> {
    const noted = this.deps.places.moving(volumeId);
    if (noted === undefined) return;
    const l = await this.look(volumeId);
    const left = (await this.deps.places.home(volumeId)) === noted.to ? l.from : l.to;
    await this.insistUnused(l.volume, left);
    await this.restateWhatNames(left, l);
    await this.deps.places.end(volumeId);
  }

  /** Of one that was not done: the volume stays where it was, unless its guest has changed over already. */
  private async giveUp(volumeId: string, to: string): Promise<void> {
    const { places, hypervisor } = this.deps;
    const noted = places.moving(volumeId);
    if (noted === undefined || noted.to !== to || (await places.home(volumeId)) === to) return;
    const l = await this.look(volumeId);
    if (l.over) return void (await this.changeOver(l));
    if (l.on && l.disk?.copying && l.disk.copyTo === l.to) {
      await hypervisor.copies.abort(l.domain!.uuid, l.disk.target);
      const now = await this.look(volumeId);
      if (now.over) return void (await this.changeOver(now));
    }
    await this.insistUnused(l.volume, l.to);
    await this.restateWhatNames(l.to, l);
    await places.end(volumeId);
  }

  /** Before a file goes. libvirt defines anew what changes over, unless it ends in that moment. */
  private async restateWhatNames(file: string, { domain, volume }: Looked): Promise<void> {
    const { hypervisor, domains } = this.deps;
    if (domain === undefined || !diskChains(await hypervisor.getXml(domain.uuid)).some((d) => d.file === file)) return;
    await domains.restate({ uuid: domain.uuid, vmId: volume.vmId });
  }

  private async look(volumeId: string): Promise<Looked> {
    const { places, hypervisor } = this.deps;
    const volume = await this.need(volumeId);
    const noted = places.moving(volumeId);
    if (noted === undefined) throw notFound(`volume ${volumeId} is not being moved`);
    const [from, to] = [places.path(volume, noted.from), places.path(volume, noted.to)];
    const domain =
      volume.vmId === ''
        ? undefined
        : (await hypervisor.list()).find((d) => readMark(d.metadataXml)?.vmId === volume.vmId);
    const on = domain !== undefined && ON.has(domain.power);
    const disk = domain && (await this.diskOf(domain, on, [from, to]));
    // what was defined anew for a copy that then was not taken says nothing
    const over = disk?.file === to && (on || noted.mirror);
    return { volume, from, to, domain, disk, on, over };
  }

  private async diskOf(domain: DomainSeen, on: boolean, files: readonly string[]): Promise<DiskChain | undefined> {
    const { hypervisor } = this.deps;
    const xml = await (on ? hypervisor.getRunningXml(domain.uuid) : hypervisor.getXml(domain.uuid));
    return diskChains(xml).find((d) => files.includes(d.file));
  }

  private async insistUnused(volume: VolumeSeen, path: string): Promise<void> {
    const user = await userOf(this.deps.hypervisor, [path]);
    if (user)
      throw new ClusterError(
        'IN_USE',
        `volume ${volume.volumeId} is in use: domain ${user.name} runs with it as ${user.target}. Stop it first`,
      );
  }

  private async need(volumeId: string): Promise<VolumeSeen> {
    const volume = await this.deps.disks.findVolume(volumeId);
    if (volume === undefined || volume.seed) throw notFound(`volume ${volumeId} is not on this host`);
    return volume;
  }
}

export interface MovingVm {
  readonly name: string;
  readonly vmId: string;
}

/** For those who start domains: a disk that is being copied is not written to meanwhile. @throws RESOURCE_BUSY */
export async function refuseMoving(
  { disks, places }: Pick<MoveDeps, 'disks' | 'places'>,
  vm: MovingVm,
  what = 'start',
): Promise<void> {
  for (const v of await disks.listVolumes()) {
    if (v.vmId !== vm.vmId || v.seed) continue;
    if (v.growing)
      throw badState(
        `vm ${vm.name} cannot start: volume ${v.volumeId} was being made larger, and that did not end. Do it again (berth volume resize)`,
      );
    if (v.unsettled)
      throw badState(
        `vm ${vm.name} cannot ${what}: volume ${v.volumeId} was being written anew or wiped, and that did not end. Do it again (berth volume sparsify, or wipe)`,
      );
    const noted = places.moving(v.volumeId);
    const isOld = noted?.was !== undefined && !noted.mirror;
    if (noted !== undefined && (isOld || (v.poolId ?? '') === noted.from))
      throw new ClusterError(
        'RESOURCE_BUSY',
        `vm ${vm.name} cannot ${what}: volume ${v.volumeId} is being moved to another pool. Try again when it is there`,
      );
  }
}
