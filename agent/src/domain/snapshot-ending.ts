/**
 * What ends what a disk holds: a domain goes back to a snapshot, or a snapshot goes from its disks. Neither can be taken back, so all
 * that could be in the way is looked at first, and a cancel that comes later waits for the end. When this is asked for is snapshots.ts's.
 */
import { dirname } from 'node:path';
import {
  badState,
  chain,
  ClusterError,
  isClusterError,
  notFound,
  unsupported,
} from '@berth/shared/errors/cluster-error.ts';
import type { Reason } from '@berth/shared/errors/reasons.ts';
import type { Disks } from '../drivers/disks.ts';
import type { DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import type { SnapshotSeen } from '../drivers/snapshots.ts';
import type { Work } from '../operations/operation.ts';
import type { Domains } from './domains.ts';
import { isOff } from './snapshot-power.ts';
import type { RevertWanted, SnapshotRef } from './snapshot-wanted.ts';
import { disksOfThen, readHolders } from './xml/snapable.ts';

export interface EndingDeps {
  readonly domains: Pick<Domains, 'need'>;
  readonly hypervisor: Pick<Hypervisor, 'snapshots' | 'getXml' | 'getRunningXml' | 'discardSaved'>;
  readonly disks: Pick<Disks, 'listVolumes' | 'listImages' | 'volumePath' | 'imagePath'>;
  /** Throws while a disk is on its way to another place. */
  readonly mayChange: (vm: { readonly name: string; readonly vmId: string }) => Promise<void>;
}

const ANY_DIGEST = `sha256:${'0'.repeat(64)}`;

export class SnapshotEnding {
  constructor(private readonly deps: EndingDeps) {}

  async revert(w: RevertWanted, work: Work): Promise<void> {
    const { hypervisor, domains } = this.deps;
    const seen = await domains.need(w);
    const found = (await hypervisor.snapshots.list(w.uuid)).find((s) => s.name === w.name);
    if (found === undefined) throw notFound(`vm ${seen.name} has no snapshot ${w.name} on its host`);
    const saved = isOff(seen) && seen.reason === 'saved';
    // one that runs on what it was reverted to: this has been done before, by an agent that ended then
    const again = found.current && found.power !== 'stopped' && !saved;
    if ((saved || !isOff(seen)) && !w.force && !again)
      throw badState(`vm ${seen.name} is ${saved ? 'saved' : seen.power} on its host; stop it first, or use --force`);
    await this.deps.mayChange({ name: seen.name, vmId: w.vmId });
    await this.insistThere(w, seen.name, found);
    await work.noReturn();
    if (saved) await hypervisor.discardSaved(w.uuid); // it would go on over disks that have changed under it
    try {
      await hypervisor.snapshots.revert(w.uuid, w.name);
    } catch (e) {
      throw halfway(e, w, seen);
    }
  }

  async remove(w: SnapshotRef, work: Work): Promise<void> {
    const { uuid, vmId, name } = w;
    const { snapshots } = this.deps.hypervisor;
    const seen = await this.deps.domains.need({ uuid, vmId });
    const found = (await snapshots.list(uuid)).find((s) => s.name === name);
    if (found?.external === true)
      throw unsupported(
        `snapshot ${name} of vm ${seen.name} is in files of its own: it was made by hand, and only virsh can delete it`,
      );
    await work.noReturn();
    if (found !== undefined) return snapshots.remove(uuid, name);
    await this.clearLost(w, seen);
  }

  /** libvirt knows of it no more, when somebody has defined the domain anew for example; the disks may hold it still. */
  private async clearLost({ uuid, name }: SnapshotRef, seen: DomainSeen): Promise<void> {
    const { hypervisor } = this.deps;
    const holders = readHolders(isOff(seen) ? await hypervisor.getXml(uuid) : await hypervisor.getRunningXml(uuid));
    if (holders.disks.length > 0) await hypervisor.snapshots.clear(uuid, { name, description: '', ...holders });
  }

  /** All that it was made of: a revert that finds it missing halfway leaves disks of two moments. */
  private async insistThere(w: SnapshotRef, vm: string, found: SnapshotSeen): Promise<void> {
    if (found.external)
      throw unsupported(
        `snapshot ${w.name} of vm ${vm} is in files of its own: it was made by hand, and only virsh can go back to it`,
      );
    const now = disksOfThen(await this.deps.hypervisor.getXml(w.uuid));
    const then = disksOfThen(found.domainXml);
    for (const target of found.disks) {
      const file = then.find((d) => d.target === target)?.file;
      if (now.some((d) => d.target === target && d.file === file)) continue;
      throw badState(
        `disk ${target} of snapshot ${w.name} is not a disk of vm ${vm} any more (${file ?? 'it is not said which'}). ` +
          `Attach it again as ${target} first`,
      );
    }
    const gone = found.memory ? await this.goneOf(then) : undefined;
    if (gone)
      throw badState(
        `snapshot ${w.name} of vm ${vm} has memory, and its guest had ${gone.file} as ${gone.target}, which is not there any more`,
      );
  }

  /** A seed that was taken since, or a medium: of what lies where Berth keeps such files. */
  private async goneOf<F extends { readonly file: string }>(then: readonly F[]): Promise<F | undefined> {
    const { disks } = this.deps;
    const volumes = (await disks.listVolumes()).map((v) => disks.volumePath(v.volumeId, v.seed, v.format));
    const images = (await disks.listImages()).map((i) => disks.imagePath(i.digest));
    const there = new Set([...volumes, ...images]);
    const ours = new Set([disks.volumePath('volume-any', true), disks.imagePath(ANY_DIGEST)].map((f) => dirname(f)));
    return then.find(({ file }) => ours.has(dirname(file)) && !there.has(file));
  }
}

/** It is waited for, or libvirt had not begun. */
const NOT_HALF: ReadonlySet<Reason> = new Set(['HYPERVISOR_UNAVAILABLE', 'RESOURCE_BUSY', 'NOT_FOUND']);

/** Disk by disk, libvirt had begun: what failed then may have left some as they were, and some as they are. */
function halfway(e: unknown, { name }: RevertWanted, vm: Pick<DomainSeen, 'name'>): unknown {
  if (!isClusterError(e) || NOT_HALF.has(e.reason)) return e;
  const advice = `Its disks may be of two moments now: go back again (berth vm snapshot revert ${vm.name} ${name}) before it is started`;
  return new ClusterError(e.reason, `${chain(e)}. ${advice}`, e.meta, e);
}
