/** Storage of a simulated host: pools and volumes as entries. What several hosts share is a SimShare that all of them were given. */
import { Readable, Writable } from 'node:stream';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { alreadyExists, ClusterError, notFound } from '@berth/shared/errors/cluster-error.ts';
import { parseXml, textAt } from '../../domain/xml/tree.ts';
import type { Storage, StorageVolumeSeen } from '../storage.ts';
import type { VolumeFile } from '../volume-work.ts';
import { simFileOf, simResized, simVolumeFile, simWritten } from './sim-volume-file.ts';

/** With what was written into it, where that was more than nothing. */
type SimEntry = StorageVolumeSeen & { readonly file?: VolumeFile };

/** A folder, by its path: on one host, or on many. */
export class SimFolders {
  private readonly folders = new Map<string, Map<string, SimEntry>>();
  capacityBytes = 100 * 2 ** 30;
  /** What is taken beside what the volumes say. */
  otherBytes = 0;

  at(path: string): Map<string, SimEntry> {
    const known = this.folders.get(path) ?? new Map<string, SimEntry>();
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
  /** Devices that something else of the host has, by path. */
  readonly users: Map<string, string>;
  /** Bytes that were uploaded into each volume last. */
  readonly written: Map<string, number>;
  /** Where that began. */
  readonly writtenAt: Map<string, number>;
}

const OVERLAY_BYTES = 196_608;

export function createSimStorage(): SimStorage {
  const pools = new Map<string, SimPool>();
  const silent = new Set<string>();
  const secrets = new Map<string, string>();
  const written = new Map<string, number>();
  const writtenAt = new Map<string, number>();
  const answering = (uuid: string): void => {
    if (silent.has(uuid)) throw new ClusterError('STORAGE_UNAVAILABLE', 'the pool does not answer');
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
    ...{ pools, silent, secrets, folders: new SimFolders(), users: new Map(), written, writtenAt },
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
    ...simVolumes(files, written, writtenAt),
    ...simSecrets(secrets),
    sync: async () => undefined,
    async download(uuid, name) {
      const { capacityBytes } = await self.lookAtVolume(uuid, name);
      return Readable.from([Buffer.alloc(capacityBytes)], { objectMode: false });
    },
    deviceUser: async (path) => self.users.get(path),
    pathOf: async (uuid, name) => `${target(up(uuid))}/${name}`,
    extendDevice: async (device, bytes) => extendIn(self.folders, device, bytes),
    ...simTransfers(files),
    silentMs: (uuid) => (silent.has(uuid) ? 1_000 : undefined),
    close: async () => {},
  };
  return self;
}

function extendIn(folders: SimFolders, device: string, sizeBytes: number): void {
  const [folder, name] = [device.slice(0, device.lastIndexOf('/')), device.slice(device.lastIndexOf('/') + 1)];
  const there = folders.at(folder).get(name);
  if (!there) throw notFound(`no ${device}`);
  folders.at(folder).set(name, { ...there, capacityBytes: Math.ceil(sizeBytes / EXTENT_BYTES) * EXTENT_BYTES });
}

/** What comes is kept, and goes as it came. */
const simTransfers = (files: Files): Pick<Storage, 'write' | 'read'> => ({
  async write(uuid, name, pieces, bytes) {
    const there = files(uuid).get(name);
    if (!there) throw notFound(`no ${name} in the pool`);
    const came: Piece[] = [];
    for await (const piece of pieces) came.push(piece);
    const file = simFileOf(came);
    if (file.fileBytes !== bytes) throw new ClusterError('INTERNAL', `${file.fileBytes} of ${bytes} bytes came`);
    files(uuid).set(name, { ...there, allocationBytes: bytes, file });
  },
  async read(uuid, name) {
    const there = files(uuid).get(name);
    if (!there) throw notFound(`no ${name} in the pool`);
    return there.file ?? simFileOf([there.capacityBytes]);
  },
});

type Files = (uuid: string) => Map<string, SimEntry>;
type OfVolumes = 'listVolumes' | 'hasVolume' | 'lookAtVolume' | 'createVolume' | 'resizeVolume' | 'removeVolume';
/** As LVM has it. */
const EXTENT_BYTES = 4 * 2 ** 20;

function simVolumes(
  files: Files,
  written: Map<string, number>,
  writtenAt: Map<string, number>,
): Pick<Storage, OfVolumes | 'replaceVolume' | 'wipeVolume' | 'upload'> {
  const lookAtVolume = async (uuid: string, name: string): Promise<SimEntry> => {
    const volume = files(uuid).get(name);
    if (!volume) throw notFound(`no ${name} in the pool`);
    return volume;
  };
  return {
    listVolumes: async (uuid) => [...files(uuid).values()],
    hasVolume: async (uuid, name) => files(uuid).has(name),
    lookAtVolume,
    async createVolume(uuid, { name, capacityBytes, format, backingPath: backing }) {
      if (files(uuid).has(name)) throw alreadyExists(`${name} is in the pool already`);
      const file = format === 'qcow2' && { file: simVolumeFile({ sizeBytes: capacityBytes, backing }) };
      files(uuid).set(name, { name, capacityBytes, allocationBytes: Math.min(capacityBytes, OVERLAY_BYTES), ...file });
    },
    async resizeVolume(uuid, name, capacityBytes) {
      const { file, ...there } = await lookAtVolume(uuid, name);
      files(uuid).set(name, { ...there, capacityBytes, ...(file && { file: await simResized(file, capacityBytes) }) });
    },
    removeVolume: async (uuid, name) => void files(uuid).delete(name),
    async replaceVolume(uuid, name, by) {
      files(uuid).set(name, { ...(await lookAtVolume(uuid, by)), name });
      files(uuid).delete(by);
    },
    wipeVolume: async (uuid, name) => {
      await lookAtVolume(uuid, name);
      written.set(name, 0);
    },
    async upload(uuid, name, _bytes, at = 0) {
      await lookAtVolume(uuid, name);
      writtenAt.set(name, at);
      written.set(name, 0);
      const came: Buffer[] = [];
      return new Writable({
        write(chunk: Buffer, _encoding, done) {
          written.set(name, (written.get(name) ?? 0) + chunk.length);
          came.push(chunk);
          done();
        },
        final: (done) => void writeOver(files(uuid), name, at, came).then(() => done(), done),
      });
    },
  };
}

/** Of a file: what it holds otherwise is not simulated. */
async function writeOver(all: Map<string, SimEntry>, name: string, at: number, came: readonly Buffer[]): Promise<void> {
  const entry = all.get(name);
  if (entry?.file) all.set(name, { ...entry, file: await simWritten(entry.file, at, Buffer.concat(came)) });
}

const simSecrets = (secrets: Map<string, string>): Pick<Storage, 'setSecret' | 'secretValue' | 'removeSecret'> => ({
  setSecret: async ({ uuid, value }) => void secrets.set(uuid, Buffer.from(value).toString('latin1')),
  async secretValue(uuid) {
    const value = secrets.get(uuid);
    if (value === undefined) throw notFound(`no secret ${uuid}`);
    return Buffer.from(value, 'latin1');
  },
  removeSecret: async (uuid) => void secrets.delete(uuid),
});
