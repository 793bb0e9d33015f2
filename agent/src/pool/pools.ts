/**
 * The operations behind PoolService: what a pool shall be is written down first, then made so in libvirt. Pools that Berth did not
 * make are shown and never touched. Looking at them, and starting them again, is pool-watch.ts's.
 */
import { alreadyExists, badState, ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import { hasFiles, takesDisks } from '@berth/shared/model/pool.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import type { Storage } from '../drivers/storage.ts';
import { readMark } from '../domain/metadata.ts';
import type { OperationKind } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import { ensureMark, removeMark, type MarkCheck } from './pool-marks.ts';
import { lackingDriver, lackingProgram } from './pool-packages.ts';
import { poolUuid, poolXml, secretUuid, type PoolSpec } from './pool-spec.ts';
import type { KeptPool, PoolStore } from './pool-store.ts';

export interface PoolWanted {
  readonly spec: PoolSpec;
  readonly marked: boolean;
  /** Base64. */
  readonly secret: string;
}

export interface PoolDeps extends MarkCheck {
  readonly store: PoolStore;
  readonly storage: Storage;
  readonly hypervisor: Pick<Hypervisor, 'list'>;
  readonly operations: Operations;
  readonly bootId: () => Promise<string>;
  /** These look at folders, which may hang: see drivers/folder-looks.ts. */
  readonly looks: PoolLooks;
  readonly log: Log;
}

export interface PoolLooks {
  /** What is said of its path. @throws INVALID_ARGUMENT, BAD_STATE */
  path(spec: PoolSpec): Promise<void>;
  /** Of one that is up: whether what it lies in may be a pool. @throws INVALID_ARGUMENT, BAD_STATE */
  folder(spec: PoolSpec): Promise<void>;
  /** Whether its file system takes O_DIRECT. @throws BAD_STATE */
  directIo(spec: PoolSpec): Promise<boolean>;
}

const OFF: ReadonlySet<string> = new Set(['stopped', 'crashed']);

export class Pools {
  readonly ensure: OperationKind<PoolWanted>;
  readonly stop: OperationKind<string>;
  readonly remove: OperationKind<string>;
  readonly refresh: OperationKind<string>;

  constructor(private readonly deps: PoolDeps) {
    const { operations } = deps;
    const verb = (name: string, run: (poolId: string) => Promise<void>): OperationKind<string> =>
      operations.define({ name: `pool.${name}`, lockKey: (id) => `pool/${id}`, run });
    this.ensure = operations.define<PoolWanted>({
      name: 'pool.ensure',
      lockKey: (w) => `pool/${w.spec.poolId}`,
      run: (w) => this.doEnsure(w),
    });
    this.stop = verb('stop', (id) => this.doStop(id));
    this.remove = verb('remove', (id) => this.doRemove(id));
    this.refresh = verb('refresh', (id) => this.doRefresh(id));
  }

  private async doEnsure({ spec, marked, secret }: PoolWanted): Promise<void> {
    const { store, storage, looks } = this.deps;
    const before = store.pool(spec.poolId);
    if (hasFiles(spec.source.type)) await looks.path(spec);
    if (before) this.refuseMoving(before, spec);
    else await this.refuseTakenName(spec);
    const known = before?.marked === true && before.spec.source.targetPath === spec.source.targetPath;
    // an agent that is killed here still knows what belongs there
    const was = known ? { marked: true, directIo: before.directIo } : { marked: false };
    await store.putPool({ version: 1, spec, started: true, bootId: await this.deps.bootId(), ...was });
    try {
      if (secret !== '') await this.keepSecret(spec, Buffer.from(secret, 'base64'));
      await this.bringUp(spec, marked || known);
    } catch (e) {
      // one whose server is away stays, and is started when it is back
      if (before === undefined && storage.silentMs(poolUuid(spec.poolId)) === undefined) await this.takeBack(spec);
      else if (before) await store.putPool(before);
      throw e;
    }
  }

  private async bringUp(spec: PoolSpec, marked: boolean): Promise<void> {
    const { store, storage } = this.deps;
    const uuid = poolUuid(spec.poolId);
    const seen = await storage.look(uuid);
    // what runs is redefined at its next start, as libvirt has it
    await storage.define(uuid, poolXml(spec)).catch((e: unknown) => {
      throw lackingDriver(e, spec.source);
    });
    if (hasFiles(spec.source.type) && seen?.active !== true) await storage.build(uuid);
    await storage.start(uuid).catch((e: unknown) => {
      throw lackingProgram(e, spec.source);
    });
    if (!takesDisks(spec.source.type)) return;
    if (hasFiles(spec.source.type)) await this.deps.looks.folder(spec);
    await storage.refresh(uuid);
    await ensureMark(this.deps, spec, marked);
    const kept = store.pool(spec.poolId);
    const folder = hasFiles(spec.source.type) && { directIo: await this.deps.looks.directIo(spec) };
    if (kept) await store.putPool({ ...kept, marked: true, ...folder });
  }

  private async keepSecret(spec: PoolSpec, value: Uint8Array): Promise<void> {
    const about = { uuid: secretUuid(spec.poolId), name: `pool ${spec.name}` };
    if (spec.source.type !== 'rbd') return this.deps.storage.setSecret({ ...about, usage: 'iscsi', value });
    // a key of Ceph is written in Base64, and libvirt writes it so again
    const key = Buffer.from(Buffer.from(value).toString(), 'base64');
    await this.deps.storage.setSecret({ ...about, usage: 'ceph', value: key });
  }

  /** Volumes of ours would be lost from sight. */
  private refuseMoving(before: KeptPool, spec: PoolSpec): void {
    const { generation: _, autostart: __, ...was } = before.spec;
    const { generation: ___, autostart: ____, ...wanted } = spec;
    if (JSON.stringify(was) === JSON.stringify(wanted)) return;
    if (this.deps.store.volumesIn(spec.poolId).length > 0)
      throw new ClusterError('IN_USE', `pool ${spec.name} cannot be moved: volumes lie in it on ${this.deps.hostName}`);
  }

  private async refuseTakenName(spec: PoolSpec): Promise<void> {
    const uuid = poolUuid(spec.poolId);
    const other = (await this.deps.storage.list()).find((p) => p.name === spec.name && p.uuid !== uuid);
    if (other)
      throw alreadyExists(
        `libvirt on ${this.deps.hostName} has a pool ${spec.name} already (${other.uuid}), not made by Berth: choose another name`,
      );
  }

  private async takeBack(spec: PoolSpec): Promise<void> {
    const { store, storage, log } = this.deps;
    try {
      await storage.stop(poolUuid(spec.poolId));
      await storage.undefine(poolUuid(spec.poolId));
      await storage.removeSecret(secretUuid(spec.poolId));
    } catch (e) {
      log.warn({ err: e, pool: spec.name }, 'what was made of a pool could not be taken back');
    }
    await store.dropPool(spec.poolId);
  }

  private async doStop(poolId: string): Promise<void> {
    const kept = this.deps.store.pool(poolId);
    if (kept === undefined) return;
    await this.refuseWhileRunning(kept);
    await this.deps.store.putPool({ ...kept, started: false });
    await this.deps.storage.stop(poolUuid(poolId));
  }

  private async refuseWhileRunning({ spec }: KeptPool): Promise<void> {
    const vms = new Set(this.deps.store.volumesIn(spec.poolId).map((v) => v.vmId));
    const user = (await this.deps.hypervisor.list()).find(
      (d) => !OFF.has(d.power) && vms.has(readMark(d.metadataXml)?.vmId ?? ''),
    );
    if (user)
      throw new ClusterError(
        'IN_USE',
        `pool ${spec.name} is in use: vm ${user.name} is ${user.power} on ${this.deps.hostName}, and has a disk in it`,
      );
  }

  private async doRemove(poolId: string): Promise<void> {
    const { store, storage, hostName } = this.deps;
    const kept = store.pool(poolId);
    if (kept === undefined) return;
    const [first, ...more] = store.volumesIn(poolId);
    if (first) {
      const others = more.length > 0 ? ` and ${more.length} more` : '';
      const what = `volume ${first.volumeId} of ${first.vmId}${others}`;
      throw new ClusterError('IN_USE', `pool ${kept.spec.name} is in use on ${hostName}: ${what}`);
    }
    await this.takeMark(kept);
    await storage.stop(poolUuid(poolId));
    await storage.undefine(poolUuid(poolId));
    await storage.removeSecret(secretUuid(poolId));
    await store.dropPool(poolId);
  }

  /** A shared one keeps its mark: other hosts have it still, and who makes a pool there anew shall be told. */
  private async takeMark({ spec }: KeptPool): Promise<void> {
    if (spec.shared || !takesDisks(spec.source.type)) return;
    const seen = await this.deps.storage.look(poolUuid(spec.poolId));
    if (seen?.active === true) await removeMark(this.deps, spec);
  }

  private async doRefresh(poolId: string): Promise<void> {
    const kept = this.deps.store.pool(poolId);
    if (kept === undefined) throw new ClusterError('NOT_FOUND', `pool ${poolId} is not on ${this.deps.hostName}`);
    try {
      await this.deps.storage.refresh(poolUuid(poolId));
    } catch (e) {
      if (!isClusterError(e, 'BAD_STATE')) throw e;
      throw badState(`pool ${kept.spec.name} is not up on ${this.deps.hostName}: berth pool start ${kept.spec.name}`);
    }
  }
}
