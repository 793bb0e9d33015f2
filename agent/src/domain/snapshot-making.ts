/**
 * A snapshot is made: which disks go into it, file systems frozen where that can be, and what was begun and given up is cleared away.
 * What can have none is refused before anything is touched. When this is asked for is snapshots.ts's.
 */
import { badState, ClusterError, isClusterError, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Disks, VolumeSeen } from '../drivers/disks.ts';
import { troubleOf } from '../drivers/guest-agents.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import type { SnapshotWanted } from '../drivers/snapshots.ts';
import type { GuestVerbs } from '../guest/guest-verbs.ts';
import type { Work } from '../operations/operation.ts';
import type { Domains } from './domains.ts';
import { settleOff } from './moved-disks.ts';
import { isOff } from './snapshot-power.ts';
import type { CreateWanted } from './snapshot-wanted.ts';
import { diskChains } from './xml/chains.ts';
import { readHolders, readSnapable } from './xml/snapable.ts';

export interface MakingDeps {
  readonly domains: Pick<Domains, 'need' | 'restate'>;
  readonly hypervisor: Pick<Hypervisor, 'snapshots' | 'getXml' | 'getRunningXml'>;
  readonly disks: Pick<Disks, 'listVolumes' | 'isMoving' | 'movedPath' | 'finishMove' | 'endMove'>;
  readonly guest: Pick<GuestVerbs, 'freeze' | 'thaw'>;
  /** Throws while a disk is on its way to another place. */
  readonly mayChange: (vm: { readonly name: string; readonly vmId: string }) => Promise<void>;
}

const FREEZE_MS = 30_000;

export class SnapshotMaking {
  constructor(private readonly deps: MakingDeps) {}

  async make(w: CreateWanted, work: Work): Promise<void> {
    const { snapshots } = this.deps.hypervisor;
    const seen = await this.deps.domains.need(w);
    const there = (await snapshots.list(w.uuid)).find((s) => s.name === w.name);
    // an agent that ended then cannot have told whether file systems were frozen
    if (there) return work.tell(there.memory ? 'memory' : isOff(seen) ? 'stopped' : 'crash-consistent');
    refusePower(seen);
    await this.deps.mayChange({ name: seen.name, vmId: w.vmId });
    const wanted = await this.wanted(w, seen);
    if (work.signal.aborted) throw work.signal.reason;
    await snapshots.clear(w.uuid, wanted);
    const live = !isOff(seen) && !w.memory;
    const how = live ? await this.live(w, seen, wanted) : isOff(seen) ? 'stopped' : 'memory';
    if (!live) await snapshots.create(w.uuid, wanted);
    if (work.signal.aborted) throw work.signal.reason; // cancelled meanwhile: it is taken back
    work.tell(how);
  }

  /** One that was given up: whole, half, or not there. */
  async drop(w: CreateWanted): Promise<void> {
    const { snapshots } = this.deps.hypervisor;
    if ((await snapshots.list(w.uuid)).some((s) => s.name === w.name)) return snapshots.remove(w.uuid, w.name);
    const seen = await this.deps.domains.need(w);
    // before all of its disks are whole, and where they stay, none is begun
    for (const v of await this.volumesOf(w)) if (v.filling || (await this.deps.disks.isMoving(v.volumeId))) return;
    const holders = readHolders(await this.xmlOf(w, isOff(seen)));
    if (holders.disks.length === 0) return;
    await snapshots.clear(w.uuid, { name: w.name, description: w.description, ...holders });
  }

  private async live(w: CreateWanted, seen: DomainSeen, wanted: SnapshotWanted): Promise<string> {
    const { hypervisor, guest } = this.deps;
    const frozen = seen.power === 'running' && (await this.freeze(w));
    let thawed = false;
    const thaw = async (): Promise<void> => {
      if (frozen && !thawed) await guest.thaw({ uuid: w.uuid, vmId: w.vmId }).catch(() => undefined); // it thaws by itself
      thawed = true;
    };
    try {
      await hypervisor.snapshots.createLive(w.uuid, wanted, thaw);
    } finally {
      await thaw();
    }
    return frozen ? 'frozen' : 'crash-consistent';
  }

  private async wanted(w: CreateWanted, seen: DomainSeen): Promise<SnapshotWanted> {
    const off = isOff(seen);
    const volumes = await this.volumesOf(w);
    refuseComing(seen.name, volumes);
    if (off) {
      const ids = volumes.map((v) => v.volumeId);
      await settleOff(this.deps, { uuid: w.uuid, vmId: w.vmId }, ids);
    }
    const xml = await this.xmlOf(w, off);
    if (!off) await this.refuseMoving(seen.name, volumes, xml);
    const { disks, others, why } = readSnapable(xml, { memory: w.memory, off });
    if (why !== undefined) throw unsupported(`vm ${seen.name} can have no snapshot: ${why}`);
    return { name: w.name, description: w.description, disks, others };
  }

  private async volumesOf({ vmId }: CreateWanted): Promise<readonly VolumeSeen[]> {
    return (await this.deps.disks.listVolumes()).filter((v) => v.vmId === vmId && !v.seed);
  }

  private xmlOf({ uuid }: CreateWanted, off: boolean): Promise<string> {
    const { hypervisor } = this.deps;
    return off ? hypervisor.getXml(uuid) : hypervisor.getRunningXml(uuid);
  }

  /** Its image has become whole while it runs: its disks go to the image's file now, and end under their own names. */
  private async refuseMoving(name: string, volumes: readonly VolumeSeen[], xml: string): Promise<void> {
    const { disks } = this.deps;
    const isMoving = (await Promise.all(volumes.map((v) => disks.isMoving(v.volumeId)))).includes(true);
    if (!isMoving && !diskChains(xml).some((d) => d.socket !== undefined)) return;
    const words = `the image of vm ${name} has just come to its host, and its disks are being moved to it. Try again in a moment`;
    throw new ClusterError('RESOURCE_BUSY', words);
  }

  private async freeze({ uuid, vmId }: CreateWanted): Promise<boolean> {
    try {
      await this.deps.guest.freeze({ uuid, vmId }, FREEZE_MS);
      return true;
    } catch (e) {
      if (troubleOf(e) !== undefined || isClusterError(e, 'BAD_STATE', 'UNSUPPORTED', 'DEADLINE_EXCEEDED'))
        return false;
      throw e;
    }
  }
}

function refusePower(seen: DomainSeen): void {
  const { name, power, reason } = seen;
  if (isOff(seen) && reason === 'saved')
    throw badState(
      `vm ${name} is saved: what it holds in memory is not on its disks. Start it first (berth vm start ${name})`,
    );
  if (!isOff(seen) && power !== 'running' && power !== 'paused')
    throw badState(`vm ${name} is ${power} on its host; a snapshot needs one that is off, runs or is paused`);
}

function refuseComing(name: string, volumes: readonly VolumeSeen[]): void {
  if (!volumes.some((v) => v.filling)) return;
  const words = `an image of vm ${name} is still coming to this host. Try again when it is whole (berth vm show ${name})`;
  throw new ClusterError('RESOURCE_BUSY', words);
}
