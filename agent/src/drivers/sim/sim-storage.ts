/** Storage of a simulated host: pools and volumes as entries. What several hosts share is a SimShare that all of them were given. */
import { Writable } from 'node:stream';
import { lengthOf } from '@berth/shared/disk/pieces.ts';
import { alreadyExists, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { parseXml, textAt } from '../../domain/xml/tree.ts';
import type { Storage, StorageVolumeSeen } from '../storage.ts';
import { simVolumeFile } from './sim-volume-file.ts';

/** A folder, by its path: on one host, or on many. */
export class SimFolders {
  private readonly folders = new Map<string, Map<string, StorageVolumeSeen>>();
  capacityBytes = 100 * 2 ** 30;
  /** What is taken beside what the volumes say. */
  otherBytes = 0;

  at(path: string): Map<string, StorageVolumeSeen> {
    const known = this.folders.get(path) ?? new Map<string, StorageVolumeSeen>();
    this.folders.set(path, known);
    return known;
  }
}

interface SimPool {
  readonly name: string;
  readonly xml: string;
  active: boolean;
}

/** Faults that a test may put in. */
export interface SimStorage extends Storage {
  readonly pools: Map<string, SimPool>;
  readonly secrets: Map<string, string>;
  /** Pools that do not answer, by uuid. */
  readonly silent: Set<string>;
  folders: SimFolders;
}

const OVERLAY_BYTES = 196_608;

export function createSimStorage(): SimStorage {
  const pools = new Map<string, SimPool>();
  const silent = new Set<string>();
  const secrets = new Map<string, string>();
  const answering = (uuid: string): void => {
    if (silent.has(uuid)) throw new ClusterError('BAD_STATE', 'the pool does not answer', { silent: 'true' });
  };
  const get = (uuid: string): SimPool => {
    answering(uuid);
    const pool = pools.get(uuid);
    if (!pool) throw notFound(`no storage pool ${uuid}`);
    return pool;
  };
  const up = (uuid: string): SimPool => {
    const pool = get(uuid);
    if (!pool.active) throw new ClusterError('BAD_STATE', `storage pool ${pool.name} is not active`);
    return pool;
  };
  const target = (p: SimPool): string => textAt(parseXml(p.xml), 'target', 'path') || p.name;
  const files = (uuid: string) => self.folders.at(target(up(uuid)));
  const self: SimStorage = {
    ...{ pools, silent, secrets, folders: new SimFolders() },
    list: async () => [...pools].map(([uuid, { name }]) => ({ uuid, name })),
    async look(uuid) {
      answering(uuid);
      const pool = pools.get(uuid);
      if (!pool) return undefined;
      const { capacityBytes, otherBytes } = self.folders;
      const used = [...self.folders.at(target(pool)).values()].reduce((n, v) => n + v.allocationBytes, otherBytes);
      const about = { uuid, name: pool.name, type: parseXml(pool.xml).attributes['type'] ?? '', active: pool.active };
      const none = { capacityBytes: 0, allocationBytes: 0, availableBytes: 0 };
      const room = { capacityBytes, allocationBytes: used, availableBytes: Math.max(0, capacityBytes - used) };
      return { ...about, targetPath: textAt(parseXml(pool.xml), 'target', 'path'), ...(pool.active ? room : none) };
    },
    async define(uuid, xml) {
      answering(uuid);
      pools.set(uuid, { name: textAt(parseXml(xml), 'name'), xml, active: pools.get(uuid)?.active ?? false });
    },
    build: async (uuid) => void get(uuid),
    start: async (uuid) => void (get(uuid).active = true),
    async stop(uuid) {
      answering(uuid);
      const pool = pools.get(uuid);
      if (pool) pool.active = false;
    },
    async undefine(uuid) {
      answering(uuid);
      pools.delete(uuid);
    },
    refresh: async (uuid) => void up(uuid),
    listVolumes: async (uuid) => [...files(uuid).values()],
    hasVolume: async (uuid, name) => files(uuid).has(name),
    async createVolume(uuid, { name, capacityBytes }) {
      if (files(uuid).has(name)) throw alreadyExists(`${name} is in the pool already`);
      files(uuid).set(name, { name, capacityBytes, allocationBytes: Math.min(capacityBytes, OVERLAY_BYTES) });
    },
    async resizeVolume(uuid, name, capacityBytes) {
      const volume = files(uuid).get(name);
      if (!volume) throw notFound(`no ${name} in the pool`);
      files(uuid).set(name, { ...volume, capacityBytes });
    },
    removeVolume: async (uuid, name) => void files(uuid).delete(name),
    async upload(uuid, name) {
      if (!files(uuid).has(name)) throw notFound(`no ${name} in the pool`);
      return new Writable({ write: (_chunk, _encoding, done) => done() });
    },
    sync: async () => undefined,
    ...simTransfers(files),
    setSecret: async ({ uuid, value }) => void secrets.set(uuid, Buffer.from(value).toString()),
    removeSecret: async (uuid) => void secrets.delete(uuid),
    silentMs: (uuid) => (silent.has(uuid) ? 1_000 : undefined),
    close: async () => {},
  };
  return self;
}

/** What comes is counted, what goes is always the same. */
const simTransfers = (files: (uuid: string) => Map<string, StorageVolumeSeen>): Pick<Storage, 'write' | 'read'> => ({
  async write(uuid, name, pieces, bytes) {
    const there = files(uuid).get(name);
    if (!there) throw notFound(`no ${name} in the pool`);
    let came = 0;
    for await (const piece of pieces) came += lengthOf(piece);
    if (came !== bytes) throw new ClusterError('INTERNAL', `${came} of ${bytes} bytes came`);
    files(uuid).set(name, { ...there, allocationBytes: bytes });
  },
  async read(uuid, name) {
    if (!files(uuid).has(name)) throw notFound(`no ${name} in the pool`);
    return simVolumeFile;
  },
});
