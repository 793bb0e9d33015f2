/**
 * Snapshots of domains of ours: the operations behind SnapshotService. They are inside the qcow2 disks, so there is no chain of files
 * that could break. They take turns with what power.ts does, and while one works the domain does not start. How one is made is in
 * snapshot-making.ts, how it is gone back to and deleted in snapshot-ending.ts. Which host, who may, and what it means for the VM's
 * definition is the controller's.
 */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { SnapshotSeen } from '../drivers/snapshots.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { DomainRef } from './domains.ts';
import { SnapshotEnding, type EndingDeps } from './snapshot-ending.ts';
import { SnapshotMaking, type MakingDeps } from './snapshot-making.ts';
import { STOPPED_FOR_OTHERS } from './snapshot-power.ts';
import type { CreateWanted, RemoveWanted, RevertWanted } from './snapshot-wanted.ts';

export type SnapshotDeps = MakingDeps &
  EndingDeps & {
    readonly hypervisor: Pick<Hypervisor, 'resume'>;
    readonly operations: Operations;
    readonly clock: Clock;
  };

/** Each writes memory as fast as the disk takes it. */
const AT_ONCE = 2;
/** Of a libvirt that is upgraded, or mended. */
const PATIENCE_MS = 600_000;
const LOOK_MS = 500;

export class Snapshots {
  readonly create: OperationKind<CreateWanted>;
  readonly revert: OperationKind<RevertWanted>;
  readonly remove: OperationKind<RemoveWanted>;
  private readonly making: SnapshotMaking;
  private readonly ending: SnapshotEnding;

  constructor(private readonly deps: SnapshotDeps) {
    const { operations } = deps;
    this.making = new SnapshotMaking(deps);
    this.ending = new SnapshotEnding(deps);
    const common = { long: { atOnce: AT_ONCE }, lockKey: ({ uuid }: DomainRef): string => `guest/${uuid}` };
    this.create = operations.define<CreateWanted>({
      ...{ name: 'domain.snapshot', ...common },
      run: (w, work) =>
        this.untilLet(
          work,
          this.asleep(w, async () => {
            await this.goOn(w); // left standing by one that was cut short
            await this.making.make(w, work);
          }),
        ),
      abandon: (w) => this.patiently(undefined, () => this.asleep(w, () => this.making.drop(w))),
    });
    this.revert = operations.define<RevertWanted>({
      ...{ name: 'domain.snapshot-revert', ...common },
      run: (w, work) =>
        this.untilLet(
          work,
          this.patiently(work.signal, () => this.ending.revert(w, work)),
        ),
    });
    this.remove = operations.define<RemoveWanted>({
      ...{ name: 'domain.snapshot-delete', ...common },
      run: (w, work) =>
        this.untilLet(
          work,
          this.asleep(w, () => this.ending.remove(w, work)),
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
    if (!w.running || !(await this.isStanding(w))) return;
    try {
      await this.deps.hypervisor.resume(w.uuid);
    } catch (e) {
      // libvirt that starts in the middle may have ended the guest
      if (!isClusterError(e, 'BAD_STATE') || (await this.isStanding(w))) throw e;
    }
  }

  private async isStanding(w: RemoveWanted): Promise<boolean> {
    const seen = await this.deps.domains.need(w).catch(() => undefined);
    return seen?.power === 'paused' && !STOPPED_FOR_OTHERS.has(seen.reason);
  }
}
