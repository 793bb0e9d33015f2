/**
 * Snapshots of domains of ours: the operations behind SnapshotService. They are inside the qcow2 disks, so there is no chain of files
 * that could break; what can have none is refused before anything is touched. They take turns with what power.ts does, and while one
 * works the domain does not start. Which host, who may, and what it means for the VM's definition is the controller's.
 */
import { dirname } from 'node:path';
import { badState, ClusterError, isClusterError, notFound, unsupported } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Disks } from '../drivers/disks.ts';
import { troubleOf } from '../drivers/guest-agents.ts';
import type { DomainPower, DomainSeen, Hypervisor } from '../drivers/hypervisor.ts';
import type { SnapshotSeen, SnapshotWanted } from '../drivers/snapshots.ts';
import type { GuestVerbs } from '../guest/guest-verbs.ts';
import { checkName } from '../ids.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { DomainRef, Domains } from './domains.ts';
import { diskChains } from './xml/chains.ts';
import { disksOfThen, readSnapable } from './xml/snapable.ts';

export interface SnapshotDeps {
  readonly domains: Pick<Domains, 'need' | 'restate'>;
  readonly hypervisor: Pick<Hypervisor, 'snapshots' | 'getXml' | 'getRunningXml' | 'resume' | 'discardSaved'>;
  readonly disks: Pick<Disks, 'listVolumes' | 'listImages' | 'volumePath' | 'imagePath' | 'isMoving'>;
  readonly guest: Pick<GuestVerbs, 'freeze' | 'thaw'>;
  readonly operations: Operations;
  readonly clock: Clock;
  /** Throws while a disk is on its way to another place. */
  readonly mayChange: (vm: { readonly name: string; readonly vmId: string }) => Promise<void>;
}

export interface SnapshotRef extends DomainRef {
  readonly name: string;
}
export interface CreateWanted extends SnapshotRef {
  readonly description: string;
  readonly memory: boolean;
  /** Its CPUs ran when this was asked for. */
  readonly running: boolean;
}
export interface RemoveWanted extends SnapshotRef {
  /** Taking back one that was begun: the guest's CPUs ran then. */
  readonly running: boolean;
}
export interface RevertWanted extends SnapshotRef {
  readonly force: boolean;
}

/** Each writes memory as fast as the disk takes it. */
const AT_ONCE = 2;
const FREEZE_MS = 30_000;
/** Of a libvirt that is upgraded, or mended. */
const PATIENCE_MS = 600_000;
const LOOK_MS = 500;
const MOST_DESCRIPTION = 1_000;
const ANY_DIGEST = `sha256:${'0'.repeat(64)}`;
const OFF: ReadonlySet<DomainPower> = new Set(['stopped', 'crashed']);

export function checkSnapshot<W extends SnapshotRef>(w: W): W {
  checkName('snapshot', w.name);
  return w;
}

export const checkCreate = (w: CreateWanted): CreateWanted =>
  checkSnapshot({ ...w, description: w.description.slice(0, MOST_DESCRIPTION) });

export class Snapshots {
  readonly create: OperationKind<CreateWanted>;
  readonly revert: OperationKind<RevertWanted>;
  readonly remove: OperationKind<RemoveWanted>;

  constructor(private readonly deps: SnapshotDeps) {
    const { operations } = deps;
    const common = { long: { atOnce: AT_ONCE }, lockKey: ({ uuid }: DomainRef): string => `guest/${uuid}` };
    this.create = operations.define<CreateWanted>({
      ...{ name: 'domain.snapshot', ...common },
      run: (w, work) =>
        this.untilLet(
          work,
          this.asleep(w, () => this.doCreate(w, work)),
        ),
      abandon: (w) => this.patiently(undefined, () => this.asleep(w, () => this.drop(w))),
    });
    this.revert = operations.define<RevertWanted>({
      ...{ name: 'domain.snapshot-revert', ...common },
      run: (w, work) =>
        this.untilLet(
          work,
          this.patiently(work.signal, () => this.doRevert(w, work)),
        ),
    });
    this.remove = operations.define<RemoveWanted>({
      ...{ name: 'domain.snapshot-delete', ...common },
      run: (w, work) =>
        this.untilLet(
          work,
          this.asleep(w, () => this.doRemove(w, work)),
        ),
    });
  }

  /** Oldest first. */
  async list(ref: DomainRef): Promise<readonly SnapshotSeen[]> {
    await this.deps.domains.need(ref);
    return this.deps.hypervisor.snapshots.list(ref.uuid);
  }

  /** libvirt goes on when this agent ends; what has begun cannot be cut short, and is taken back by whoever cancels. */
  private async untilLet<T>({ signal }: Work, working: Promise<T>): Promise<T> {
    const left = new Promise<never>((_, reject) => {
      const hear = (): void => {
        if (!isClusterError(signal.reason, 'CANCELLED')) reject(signal.reason as Error);
      };
      signal.addEventListener('abort', hear, { once: true });
      if (signal.aborted) hear();
    });
    return Promise.race([working, left]);
  }

  /**
   * libvirt that goes away in the middle is waited for: a guest may stand still meanwhile, or have disks of two moments, and nobody
   * else would mend that.
   */
  private async patiently<T>(signal: AbortSignal | undefined, fn: () => Promise<T>): Promise<T> {
    const { clock } = this.deps;
    for (const deadline = clock.monotonic() + PATIENCE_MS; ;)
      try {
        return await fn();
      } catch (e) {
        if (!isClusterError(e, 'HYPERVISOR_UNAVAILABLE') || signal?.aborted || clock.monotonic() > deadline) throw e;
        await clock.sleep(LOOK_MS, signal);
      }
  }

  /** It stands still while its memory is written. When libvirt dies in the middle, nobody else lets it go on. */
  private async asleep<T>(w: RemoveWanted, fn: () => Promise<T>): Promise<T> {
    try {
      return await fn();
    } finally {
      await this.goOn(w);
    }
  }

  private async goOn(w: RemoveWanted): Promise<void> {
    if (!w.running) return;
    const seen = await this.deps.domains.need(w).catch(() => undefined);
    if (seen?.power === 'paused' && !STOPPED_FOR_OTHERS.has(seen.reason)) await this.deps.hypervisor.resume(w.uuid);
  }

  private async doCreate(w: CreateWanted, work: Work): Promise<void> {
    const { snapshots } = this.deps.hypervisor;
    await this.goOn(w); // left standing by one that was cut short
    const seen = await this.deps.domains.need(w);
    const there = (await snapshots.list(w.uuid)).find((s) => s.name === w.name);
    // an agent that ended then cannot have told whether file systems were frozen
    if (there) return work.tell(there.memory ? 'memory' : OFF.has(seen.power) ? 'stopped' : 'crash-consistent');
    this.refusePower(seen);
    await this.deps.mayChange({ name: seen.name, vmId: w.vmId });
    const wanted = await this.wanted(w, seen);
    if (work.signal.aborted) throw work.signal.reason;
    await snapshots.clear(w.uuid, wanted);
    const live = !OFF.has(seen.power) && !w.memory;
    const how = live ? await this.live(w, seen, wanted) : OFF.has(seen.power) ? 'stopped' : 'memory';
    if (!live) await snapshots.create(w.uuid, wanted);
    if (work.signal.aborted) throw work.signal.reason; // cancelled meanwhile: it is taken back
    work.tell(how);
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

  private refusePower({ name, power, reason }: DomainSeen): void {
    if (OFF.has(power) && reason === 'saved')
      throw badState(
        `vm ${name} is saved: what it holds in memory is not on its disks. Start it first (berth vm start ${name})`,
      );
    if (!OFF.has(power) && power !== 'running' && power !== 'paused')
      throw badState(`vm ${name} is ${power} on its host; a snapshot needs one that is off, runs or is paused`);
  }

  private async wanted(w: CreateWanted, seen: DomainSeen): Promise<SnapshotWanted> {
    const { hypervisor } = this.deps;
    const off = OFF.has(seen.power);
    await this.refuseFilling(w, seen.name);
    let xml = off ? await hypervisor.getXml(w.uuid) : await hypervisor.getRunningXml(w.uuid);
    if (off && diskChains(xml).some((d) => d.socket !== undefined)) {
      // its image has become whole while it was off: its next start would say so too
      await this.deps.domains.restate({ uuid: w.uuid, vmId: w.vmId });
      xml = await hypervisor.getXml(w.uuid);
    }
    const { disks, others, why } = readSnapable(xml, { memory: w.memory, off });
    if (why !== undefined) throw unsupported(`vm ${seen.name} can have no snapshot: ${why}`);
    return { name: w.name, description: w.description, disks, others };
  }

  private async refuseFilling({ vmId }: CreateWanted, name: string): Promise<void> {
    const { disks } = this.deps;
    for (const v of await disks.listVolumes()) {
      if (v.vmId !== vmId || v.seed) continue;
      if (v.filling !== true && !(await disks.isMoving(v.volumeId))) continue;
      const words = `an image of vm ${name} is still coming to this host. Try again when it is whole (berth vm show ${name})`;
      throw new ClusterError('RESOURCE_BUSY', words);
    }
  }

  private async freeze(ref: DomainRef): Promise<boolean> {
    try {
      await this.deps.guest.freeze({ uuid: ref.uuid, vmId: ref.vmId }, FREEZE_MS);
      return true;
    } catch (e) {
      if (troubleOf(e) !== undefined || isClusterError(e, 'BAD_STATE', 'UNSUPPORTED', 'DEADLINE_EXCEEDED'))
        return false;
      throw e;
    }
  }

  private async drop(w: CreateWanted): Promise<void> {
    const { snapshots } = this.deps.hypervisor;
    if ((await snapshots.list(w.uuid)).some((s) => s.name === w.name)) return snapshots.remove(w.uuid, w.name);
    const seen = await this.deps.domains.need(w);
    await snapshots.clear(w.uuid, await this.wanted(w, seen));
  }

  private async doRevert(w: RevertWanted, { signal }: Work): Promise<void> {
    const { hypervisor, domains } = this.deps;
    const seen = await domains.need(w);
    const found = (await hypervisor.snapshots.list(w.uuid)).find((s) => s.name === w.name);
    if (found === undefined) throw notFound(`vm ${seen.name} has no snapshot ${w.name} on its host`);
    const saved = OFF.has(seen.power) && seen.reason === 'saved';
    // one that runs on what it was reverted to: this has been done before, by an agent that ended then
    const again = found.current && found.power !== 'stopped' && !saved;
    if ((saved || !OFF.has(seen.power)) && !w.force && !again)
      throw badState(`vm ${seen.name} is ${saved ? 'saved' : seen.power} on its host; stop it first, or use --force`);
    await this.deps.mayChange({ name: seen.name, vmId: w.vmId });
    await this.insistThere(w, seen.name, found);
    // also by one that was begun anew after a restart: nothing that is given up takes what the disks hold
    if (signal.aborted) throw signal.reason;
    if (saved) await hypervisor.discardSaved(w.uuid); // it would go on over disks that have changed under it
    await hypervisor.snapshots.revert(w.uuid, w.name);
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

  private async doRemove({ uuid, vmId, name }: SnapshotRef, { signal }: Work): Promise<void> {
    const seen = await this.deps.domains.need({ uuid, vmId });
    const found = (await this.deps.hypervisor.snapshots.list(uuid)).find((s) => s.name === name);
    if (found?.external === true)
      throw unsupported(
        `snapshot ${name} of vm ${seen.name} is in files of its own: it was made by hand, and only virsh can delete it`,
      );
    if (found === undefined) return;
    if (signal.aborted) throw signal.reason;
    await this.deps.hypervisor.snapshots.remove(uuid, name);
  }
}

/** Paused for these, a guest goes on when what it waits for is mended. */
const STOPPED_FOR_OTHERS: ReadonlySet<DomainSeen['reason']> = new Set(['io-error', 'no-space']);
