/**
 * Looks at the pools of this host, and starts those that shall be up. Autostart is ours and not libvirt's: libvirt tries once, while
 * it starts, and neither waits for a server that comes up a minute later nor answers anything while one is silent. Every look goes
 * its pool's own way and nobody waits for it: a pool that hangs is told of as silent, and the others as they are.
 */
import { chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { holdsUnits, takesDisks, type PoolSeen, type PoolUnit } from '@berth/shared/model/pool.ts';
import type { Clock } from '@berth/shared/runtime/clock.ts';
import type { Storage, StorageRef, StorageVolumeSeen } from '../drivers/storage.ts';
import { imageDigestOf, wholeImages } from './pool-images.ts';
import { insistMark, type MarkCheck } from './pool-marks.ts';
import { poolUuid, poolXml } from './pool-spec.ts';
import type { KeptPool, PoolStore } from './pool-store.ts';

export interface PoolWatchDeps extends MarkCheck {
  readonly store: PoolStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly bootId: () => Promise<string>;
}

/** How long one round waits for the looks that it began. */
const ROUND_MS = 3_000;
const FIRST_RETRY_MS = 10_000;
const LAST_RETRY_MS = 300_000;

interface Known {
  seen: PoolSeen;
  /** By the volume's name. */
  volumes: ReadonlyMap<string, StorageVolumeSeen>;
}

export class PoolWatch {
  readonly #known = new Map<string, Known>();
  readonly #looks = new Map<string, Promise<void>>();
  readonly #failed = new Map<string, { why: string; tries: number; nextMs: number }>();
  #foreign: readonly StorageRef[] = [];

  constructor(private readonly deps: PoolWatchDeps) {}

  /** What is known after a short look. @throws HYPERVISOR_UNAVAILABLE when libvirt is away. */
  async observe(): Promise<readonly PoolSeen[]> {
    const { store, clock } = this.deps;
    await this.#list();
    const ours = store.pools().map((p) => ({ uuid: poolUuid(p.spec.poolId), pool: p as KeptPool | undefined }));
    const all = [...ours, ...this.#foreign.map(({ uuid }) => ({ uuid, pool: undefined }))];
    const looks = Promise.all(all.map(({ uuid, pool }) => this.#lookOnce(uuid, pool)));
    const late = new AbortController();
    await Promise.race([looks, clock.sleep(ROUND_MS, late.signal).catch(() => undefined)]);
    late.abort();
    const uuids = new Set(all.map((a) => a.uuid));
    for (const uuid of [...this.#known.keys()]) if (!uuids.has(uuid)) this.#known.delete(uuid);
    return all.flatMap(({ uuid, pool }) => this.#shown(uuid, pool) ?? []);
  }

  /** As it was seen last; undefined: it was not seen. */
  volume(poolId: string, name: string): StorageVolumeSeen | undefined {
    return this.#known.get(poolUuid(poolId))?.volumes.get(name);
  }

  /** Looks now, for whoever needs to know how much room there is. Never longer than a round. */
  async room(poolId: string): Promise<PoolSeen | undefined> {
    const pool = this.deps.store.pool(poolId);
    if (pool === undefined) return undefined;
    const late = new AbortController();
    const look = this.#lookOnce(poolUuid(poolId), pool);
    await Promise.race([look, this.deps.clock.sleep(ROUND_MS, late.signal).catch(() => undefined)]);
    late.abort();
    return this.#shown(poolUuid(poolId), pool);
  }

  /** One that is silent holds up the list as well: then it is as it was. */
  async #list(): Promise<void> {
    try {
      const own = new Set(this.deps.store.pools().map((p) => poolUuid(p.spec.poolId)));
      this.#foreign = (await this.deps.storage.list()).filter((p) => !own.has(p.uuid));
    } catch (e) {
      if (isClusterError(e, 'HYPERVISOR_UNAVAILABLE')) throw e;
    }
  }

  #lookOnce(uuid: string, pool: KeptPool | undefined): Promise<void> {
    const running = this.#looks.get(uuid);
    if (running) return running;
    const look = this.#look(uuid, pool)
      .catch((e: unknown) => this.deps.log.debug({ err: e, uuid }, 'a pool could not be looked at'))
      .finally(() => this.#looks.delete(uuid));
    this.#looks.set(uuid, look);
    return look;
  }

  async #look(uuid: string, pool: KeptPool | undefined): Promise<void> {
    const { storage } = this.deps;
    let found = await storage.look(uuid);
    if (pool && (await this.#shallBeUp(pool)) && found?.active !== true) {
      await this.#start(uuid, pool, found !== undefined);
      found = await storage.look(uuid);
    } else if (pool && found?.active === true) {
      await storage.refresh(uuid).catch(() => undefined);
      found = await storage.look(uuid);
    }
    if (pool && found?.active === true && !(await this.#bearsMark(uuid, pool))) found = await storage.look(uuid);
    if (found === undefined) return void this.#known.delete(uuid);
    const files = found.active && tellsOf(pool) ? await storage.listVolumes(uuid) : [];
    this.#known.set(uuid, { seen: this.#seen(found, pool, files), volumes: new Map(files.map((v) => [v.name, v])) });
  }

  /** Without its mark it is a folder whose mount is missing, or other storage: then it is not up, and nothing is put there. */
  async #bearsMark(uuid: string, pool: KeptPool): Promise<boolean> {
    const { storage, log } = this.deps;
    try {
      await insistMark(this.deps, pool);
      this.#failed.delete(uuid);
      return true;
    } catch (e) {
      // what hangs is told of as silent
      if (!isClusterError(e, 'BAD_STATE')) throw e;
      this.#noteFailed(uuid, pool, e);
      await storage
        .stop(uuid)
        .catch((err: unknown) => log.warn({ err, pool: pool.spec.name }, 'it could not be stopped'));
      return false;
    }
  }

  #seen(
    found: NonNullable<Awaited<ReturnType<Storage['look']>>>,
    pool: KeptPool | undefined,
    files: readonly StorageVolumeSeen[],
  ): PoolSeen {
    const { uuid, name, type, targetPath, active, capacityBytes, allocationBytes, availableBytes } = found;
    const ours = new Set(pool ? this.deps.store.volumesIn(pool.spec.poolId).map((v) => v.volumeId) : []);
    const mine = files.filter((f) => ours.has(f.name.replace(/\.(qcow2|raw)$/, '')));
    return {
      ...{ poolId: pool?.spec.poolId ?? '', generation: pool?.spec.generation ?? 0, uuid, name, type, targetPath },
      ...{ state: active ? 'active' : 'inactive', reason: '', capacityBytes, allocationBytes, availableBytes },
      volumesAllocatedBytes: mine.reduce((sum, v) => sum + v.allocationBytes, 0),
      imageDigests: wholeImages(files.map((f) => f.name)).map(imageDigestOf),
      ...(pool && holdsUnits(pool.spec.source.type) && { units: files.map(unitSeen) }),
    };
  }

  /** A pool without autostart is up as long as the host is. */
  async #shallBeUp({ started, spec, bootId }: KeptPool): Promise<boolean> {
    return started && (spec.autostart || bootId === (await this.deps.bootId()));
  }

  async #start(uuid: string, pool: KeptPool, defined: boolean): Promise<void> {
    const { storage, clock, log } = this.deps;
    const before = this.#failed.get(uuid);
    if (before && clock.monotonic() < before.nextMs) return;
    try {
      if (!defined) await storage.define(uuid, poolXml(pool.spec));
      await storage.start(uuid);
      log.info({ pool: pool.spec.name }, 'a pool that shall be up was started');
    } catch (e) {
      this.#noteFailed(uuid, pool, e);
    }
  }

  #noteFailed(uuid: string, { spec }: KeptPool, e: unknown): void {
    const { clock, log } = this.deps;
    const before = this.#failed.get(uuid);
    const tries = (before?.tries ?? 0) + 1;
    const waitMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (tries - 1));
    this.#failed.set(uuid, { why: chain(e), tries, nextMs: clock.monotonic() + waitMs });
    if (before?.why !== chain(e)) log.warn({ err: e, pool: spec.name }, 'a pool that shall be up is not');
  }

  /** One that is silent, or that was never seen, is told of as well, with what was known last. */
  #shown(uuid: string, pool: KeptPool | undefined): PoolSeen | undefined {
    const known = this.#known.get(uuid)?.seen ?? (pool && unseen(uuid, pool));
    if (known === undefined) return undefined;
    if (this.deps.storage.silentMs(uuid) !== undefined)
      return { ...known, state: 'silent', reason: 'its server does not answer' };
    const failed = this.#failed.get(uuid);
    return failed && known.state !== 'active' ? { ...known, state: 'failed', reason: failed.why } : known;
  }
}

/** What lies there is ours, or can be. */
const tellsOf = (pool: KeptPool | undefined): boolean =>
  pool !== undefined && (takesDisks(pool.spec.source.type) || holdsUnits(pool.spec.source.type));

const unitSeen = ({ name, capacityBytes, key = '' }: StorageVolumeSeen): PoolUnit => ({
  ...{ name, key, sizeBytes: capacityBytes },
});

const unseen = (uuid: string, { spec }: KeptPool): PoolSeen => ({
  ...{ poolId: spec.poolId, name: spec.name, uuid, type: spec.source.type, targetPath: spec.source.targetPath },
  ...{ state: 'inactive', reason: '', generation: spec.generation, imageDigests: [] },
  ...{ capacityBytes: 0, allocationBytes: 0, availableBytes: 0, volumesAllocatedBytes: 0 },
});
