/**
 * Who may command this host. Keeps the highest (epoch, revision) that a controller has shown, and the run that is
 * connected, so that a controller started on a copied or stale database is refused. Not the certificate check: that is
 * rpc/caller.ts.
 */
import { ClusterError, invalidArgument, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Ledger, SeenController } from './ledger.ts';

export interface Fence extends SeenController {
  /** Runs that the caller's database has been through before; only Watch carries them. */
  readonly formerRunIds: readonly string[];
}

/** How long a run that fell silent keeps the host, so that a short break does not let another one in. */
const GRACE_MS = 2_000;

const refuse = (message: string): ClusterError => new ClusterError('WRONG_CONTROLLER', message);

export class FenceKeeper {
  private highest: SeenController | undefined;
  private owner: { runId: string; streams: number; heardMs: number } | undefined;
  private saving: Promise<void> = Promise.resolve();
  private readonly losers = new Map<string, Set<() => void>>();

  constructor(
    private readonly installationId: string,
    private readonly ledger: Ledger,
    private readonly clock: Clock,
  ) {
    const kept = ledger.controller;
    // enrolled with another installation since: what the former one had says nothing about this one
    this.highest = kept?.installationId === installationId ? kept : undefined;
  }

  /** Before anything is changed. A higher epoch is on disk before this resolves. @throws WRONG_CONTROLLER */
  async check(fence: Fence): Promise<void> {
    this.admit(fence);
    const { ledger } = this;
    this.saving = this.saving
      .catch(() => undefined)
      .then(async () => {
        const top = this.highest as SeenController;
        const kept = ledger.controller;
        if (kept?.epoch === top.epoch && kept.runId === top.runId) return;
        await this.save(top, kept);
      });
    await this.saving;
  }

  /**
   * For Watch: claims the host for the fence's run until the returned function is called. `lost` is called when a
   * controller of a higher epoch takes over. Needs no disk, so that a host whose disk is full can still report.
   */
  claim(fence: Fence, lost: () => void): () => void {
    this.admit(fence);
    // on disk as soon as may be: after a restart the agent must still know which run it had last
    this.check(fence).catch(() => undefined);
    const { runId } = fence;
    const owner = this.owner as NonNullable<typeof this.owner>;
    owner.streams++;
    const mine = this.losers.get(runId) ?? new Set();
    this.losers.set(runId, mine.add(lost));
    let open = true;
    return () => {
      if (!open) return;
      open = false;
      owner.streams--;
      owner.heardMs = this.clock.monotonic();
      mine.delete(lost);
      if (mine.size === 0) this.losers.delete(runId);
    };
  }

  private admit(fence: Fence): void {
    const f = this.checked(fence);
    const top = this.highest;
    const takeover = top !== undefined && f.epoch > top.epoch;
    if (!takeover) this.refuseStale(f, top);
    if (!takeover) this.refuseOther(f);
    if (top === undefined || takeover || f.revision > top.revision || f.runId !== top.runId) this.raise(f, top);
    if (this.owner?.runId !== f.runId) this.owner = { runId: f.runId, streams: 0, heardMs: 0 };
    this.owner.heardMs = this.clock.monotonic();
    if (takeover) for (const [run, calls] of this.losers) if (run !== f.runId) for (const lost of [...calls]) lost();
  }

  private raise(f: Fence, top: SeenController | undefined): void {
    const { installationId, epoch, revision, runId } = f;
    this.highest = { installationId, epoch, revision, runId };
    const kept = this.ledger.controller;
    if (top?.runId === f.runId && kept?.runId === f.runId && kept.epoch === f.epoch)
      this.ledger.noteController(this.highest);
  }

  private checked(f: Fence): Fence {
    if (f.installationId === '' || f.runId === '' || f.runId.length > 100)
      throw invalidArgument(
        'the call carries no fence (installation id, epoch, revision and run id of its controller)',
      );
    if (f.installationId !== this.installationId)
      throw refuse(`this host belongs to installation ${this.installationId}, not to ${f.installationId.slice(0, 60)}`);
    return f;
  }

  /** Calls of one run may overtake each other, so its own older revisions are fine. */
  private refuseStale(f: Fence, top: SeenController | undefined): void {
    if (top === undefined) return;
    if (f.epoch < top.epoch)
      throw refuse(
        `a controller with epoch ${top.epoch} commands this host, the caller has epoch ${f.epoch}: its database is older than a restore that was made since`,
      );
    if (f.runId !== top.runId && f.revision < top.revision)
      throw refuse(
        `this host was last commanded at revision ${top.revision}, the caller's database is at ${f.revision}: it is a copy or a stale backup. Stop it, or raise its epoch with a restore`,
      );
    if (f.runId !== top.runId && !f.formerRunIds.includes(top.runId))
      throw refuse(
        `this host was last commanded by run ${top.runId}, of which the caller's database knows nothing: it is a copy or a stale backup. Stop it, or raise its epoch with a restore`,
      );
  }

  private refuseOther(f: Fence): void {
    const o = this.owner;
    if (o === undefined || o.runId === f.runId) return;
    if (o.streams > 0 || this.clock.monotonic() - o.heardMs < GRACE_MS)
      throw refuse(`another run of the controller (${o.runId}) is connected to this host; only one may be`);
  }

  private async save(top: SeenController, kept: SeenController | undefined): Promise<void> {
    try {
      await this.ledger.saveController(top);
    } catch (e) {
      // without a higher epoch nothing is at stake that the run in memory does not guard as well
      if (!isClusterError(e, 'DISK_FULL') || kept === undefined || kept.epoch < top.epoch) throw e;
      this.ledger.noteController(top);
    }
  }
}
