/**
 * Looks after guests whose image was not whole on this host when they were made: lets those go on that were paused because nobody
 * gave what they wanted to read, and has them moved, live, from the socket to the image's file when it is whole (base-moves.ts).
 * What there is to do is looked up in libvirt and in the pool each time, so it does not matter when the agent ended in between.
 */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Timer } from '@berth/shared/runtime/clock.ts';
import { readMark } from '../domain/metadata.ts';
import { diskChains } from '../domain/xml/chains.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { BaseMoves, FREE, HELD, isSaved, ON, ROUND_MS, type MoveDeps, type Resting } from './base-moves.ts';

export interface BaseDeps extends Omit<MoveDeps, 'stopped' | 'hypervisor'> {
  readonly hypervisor: MoveDeps['hypervisor'] & Pick<Hypervisor, 'subscribe'>;
}

/** A round waits so long for one guest, which goes on beside it then. */
const QUICK_MS = 500;

export class Bases {
  private timer: Timer | undefined;
  private dueMs = 0;
  private round: Promise<void> | undefined;
  private again = false;
  private unsubscribe: (() => void) | undefined;
  private stopped = false;
  /** Why it failed last, by guest; '' is a round. */
  private readonly failures = new Map<string, string>();
  /** What is being done for guests, by their domain's uuid. */
  private readonly busy = new Map<string, Promise<number>>();
  /** Guests that are saved and need the socket when they go on. */
  private held: ReadonlySet<string> = new Set();
  private readonly moves: BaseMoves;

  constructor(private readonly deps: BaseDeps) {
    this.moves = new BaseMoves({ ...deps, stopped: () => this.stopped });
  }

  start(): void {
    this.unsubscribe = this.deps.hypervisor.subscribe((e) => {
      if (e.type === 'connected') this.nudge();
      if (e.type === 'domain' && (e.seen?.reason === 'io-error' || this.held.has(e.uuid))) this.nudge();
    });
    this.nudge();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.unsubscribe?.();
    await Promise.all([this.round, ...this.busy.values()]);
  }

  /** Something may have changed: an image is whole, a source is there again. */
  nudge(): void {
    this.schedule(0);
  }

  /** What is due earlier already stays. */
  private schedule(ms: number): void {
    const dueMs = this.deps.clock.monotonic() + ms;
    if (this.stopped || ms === HELD || (this.timer !== undefined && this.dueMs <= dueMs)) return;
    this.timer?.cancel();
    this.dueMs = dueMs;
    this.timer = this.deps.clock.after(ms, () => {
      this.timer = undefined;
      this.go();
    });
  }

  private go(): void {
    if (this.round) {
      this.again = true;
      return;
    }
    this.round = this.lookAfterAll().finally(() => {
      this.round = undefined;
      if (this.again) this.nudge();
      this.again = false;
    });
  }

  private async lookAfterAll(): Promise<void> {
    const held = new Set<string>();
    try {
      const volumes = (await this.deps.disks.listVolumes()).filter((v) => v.imageDigest !== undefined && !v.seed);
      for (const digest of new Set(volumes.map((v) => v.imageDigest!))) {
        const own = volumes.filter((v) => v.imageDigest === digest);
        if (await this.isToLookAfter(digest, own)) this.schedule((await this.lookAfter(digest, own, held)) || HELD);
      }
      this.failures.delete('');
    } catch (e) {
      this.schedule(ROUND_MS);
      this.noteFailure('', e);
    }
    this.held = held;
  }

  /** A guest may rest on its socket, or on another file than the volume's own. */
  private async isToLookAfter(digest: string, volumes: readonly VolumeSeen[]): Promise<boolean> {
    const { disks } = this.deps;
    if (await disks.hasBase(digest)) return true;
    return (await Promise.all(volumes.map((v) => disks.isMoving(v.volumeId)))).includes(true);
  }

  /** @returns after how many milliseconds to look again; FREE: the socket is ended, HELD: when something happens */
  private async lookAfter(digest: string, volumes: readonly VolumeSeen[], held: Set<string>): Promise<number> {
    const resting = await this.restingOn(volumes);
    const isWhole = !volumes.some((v) => v.filling === true);
    const isServed = await this.deps.disks.isBaseServed(digest);
    if (isWhole && (await this.deps.disks.hasBase(digest))) await this.deps.disks.openBase(digest);
    const socket = this.deps.disks.baseSocket(digest);
    const look = async (r: Resting): Promise<number> => {
      if (isServed) await this.letGoOn(r);
      return isWhole ? this.moves.settle(r, socket) : ROUND_MS;
    };
    const waits = await Promise.all(resting.map((r) => this.inTurn(r, () => look(r))));
    for (const [i, r] of resting.entries()) if (waits[i] === HELD) held.add(r.domain.uuid);
    if (!isWhole) return ROUND_MS;
    const left = waits.filter((ms) => ms !== FREE && ms !== HELD);
    if (left.length > 0) return Math.min(...left);
    if (await this.isRead(digest, volumes)) return waits.includes(HELD) ? HELD : ROUND_MS;
    await this.deps.disks.endBase(digest);
    return FREE;
  }

  /** One thing at a time for each guest. What takes long goes on beside the round, and another round begins when it is done. */
  private async inTurn(resting: Resting, fn: () => Promise<number>): Promise<number> {
    const { clock } = this.deps;
    const { uuid, name } = resting.domain;
    if (this.busy.has(uuid)) return ROUND_MS;
    let isLate = false;
    const doing = fn()
      .then((ms) => (this.failures.delete(uuid), ms))
      .catch((e: unknown) => {
        this.noteFailure(uuid, e, { vm: name, volumes: resting.volumes.map((v) => v.volumeId) });
        return ROUND_MS;
      })
      .finally(() => {
        this.busy.delete(uuid);
        if (isLate) this.nudge();
      });
    this.busy.set(uuid, doing);
    const over = new AbortController();
    const late = clock.sleep(QUICK_MS, over.signal).then(
      () => ((isLate = true), ROUND_MS),
      () => ROUND_MS,
    );
    return Promise.race([doing, late]).finally(() => over.abort());
  }

  /** By one that was defined or started since it was looked for. */
  private async isRead(digest: string, volumes: readonly VolumeSeen[]): Promise<boolean> {
    const { hypervisor, disks } = this.deps;
    const socket = disks.baseSocket(digest);
    for (const { domain } of await this.restingOn(volumes)) {
      if (isSaved(domain) && (await this.moves.goesOnBy(domain, socket))) return true;
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

  private noteFailure(who: string, e: unknown, about: object = {}): void {
    const why = chain(e);
    this.deps.log[why === this.failures.get(who) ? 'debug' : 'warn'](
      { ...about, err: e },
      'guests that rest on a socket cannot be looked after',
    );
    this.failures.set(who, why);
  }
}
