/**
 * What this host remembers of its pools, and of the volumes of ours in them: one small file each, below the data directory, written
 * before what they speak of is made and removed after it is gone. libvirt has the rest.
 *
 *   pools/<pool id>.json            what it shall be
 *   pools/volumes/<volume id>.json  whose a volume is, and in which pool
 *   pools/moves/<volume id>.json    that it goes from one to another
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Log } from '@berth/shared/log/log.ts';
import { POOL_TYPES } from '@berth/shared/model/pool.ts';
import { checkId } from '../ids.ts';

const Source = z.object({
  type: z.enum(POOL_TYPES),
  ...{ targetPath: z.string(), path: z.string(), name: z.string(), format: z.string() },
  ...{ hosts: z.array(z.string()).readonly(), devices: z.array(z.string()).readonly() },
  ...{ initiator: z.string(), adapter: z.string(), authUser: z.string() },
});

const KeptPool = z.object({
  version: z.literal(1),
  spec: z.object({
    ...{ poolId: z.string(), name: z.string(), source: Source },
    ...{ shared: z.boolean(), autostart: z.boolean(), generation: z.number() },
  }),
  /** It shall be up: a person started it, and did not stop it since. */
  started: z.boolean(),
  /** Boot of the host in which it was started by a person. */
  bootId: z.string(),
  /** Its mark has been found there, or put there: what bears none now is other storage. Not known of agents before: it was so. */
  marked: z.boolean().default(true),
  /** Its file system takes O_DIRECT; absent: not known. */
  directIo: z.boolean().optional(),
});
export type KeptPool = z.output<typeof KeptPool>;

const KeptVolume = z.object({
  version: z.literal(1),
  ...{ volumeId: z.string(), vmId: z.string(), poolId: z.string(), sizeBytes: z.number() },
  imageDigest: z.string().optional(),
  /** Absent: qcow2. */
  format: z.literal('raw').optional(),
  /** It is no file: block-volumes.ts. */
  block: z.literal(true).optional(),
  /** What it shall hold has not been written yet. */
  unfinished: z.literal(true).optional(),
  /** It is a LUN, which was there before it. */
  unit: z.object({ name: z.string(), key: z.string(), path: z.string() }).readonly().optional(),
  /** A new file of it comes, or has come just now: file-rewrites.ts. What the volume is then. */
  next: z
    .object({
      ...{ format: z.literal('raw').optional(), imageDigest: z.string().optional(), sizeBytes: z.number() },
      /** All of it is there: where its own name is gone, it has taken the place of the old one. */
      whole: z.literal(true).optional(),
    })
    .readonly()
    .optional(),
  /** Format of the file that it had before, which has to go. */
  former: z.enum(['qcow2', 'raw']).optional(),
  /** What it held is being overwritten, beside it: file-wipes.ts. */
  wiping: z.enum(['begun', 'blank']).optional(),
  /** It is being made larger: from here on it holds what others left there, which nobody may see. */
  cleanBytes: z.number().optional(),
});
export type KeptVolume = z.output<typeof KeptVolume>;

/** Ids of pools; empty: the host's own folder. */
const KeptMove = z.object({
  version: z.literal(1),
  ...{ volumeId: z.string(), from: z.string(), to: z.string() },
  /** By a mirror under a guest that runs: where that has changed over, libvirt's stored definition says so. */
  mirror: z.boolean(),
  /** To or from a pool without files: what it was before it. */
  was: z
    .object({ format: z.literal('raw').optional(), imageDigest: z.string().optional() })
    .readonly()
    .optional(),
  /** It has what is in its image at its goal, and rests on none there: between places of files, where `was` says what it was. */
  full: z.literal(true).optional(),
  /** What lies at its goal is ours: of a pool without files. */
  made: z.literal(true).optional(),
});
export type KeptMove = z.output<typeof KeptMove>;

export class PoolStore {
  readonly #pools = new Map<string, KeptPool>();
  readonly #volumes = new Map<string, KeptVolume>();
  readonly #moves = new Map<string, KeptMove>();
  readonly #dir: string;
  readonly #movesDir: string;
  readonly #volumesDir: string;

  constructor(
    dataDir: string,
    private readonly log: Log,
  ) {
    this.#dir = join(dataDir, 'pools');
    this.#volumesDir = join(this.#dir, 'volumes');
    this.#movesDir = join(this.#dir, 'moves');
  }

  /** Before anything else is asked. A file that makes no sense is passed over, and told of. */
  async load(): Promise<void> {
    for (const dir of [this.#volumesDir, this.#movesDir]) await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const p of await this.#readAll(this.#dir, KeptPool)) this.#pools.set(p.spec.poolId, p);
    for (const v of await this.#readAll(this.#volumesDir, KeptVolume)) this.#volumes.set(v.volumeId, v);
    for (const m of await this.#readAll(this.#movesDir, KeptMove)) this.#moves.set(m.volumeId, m);
  }

  pools = (): readonly KeptPool[] => [...this.#pools.values()];
  pool = (poolId: string): KeptPool | undefined => this.#pools.get(poolId);
  volumes = (): readonly KeptVolume[] => [...this.#volumes.values()];
  volume = (volumeId: string): KeptVolume | undefined => this.#volumes.get(volumeId);
  volumesIn = (poolId: string): readonly KeptVolume[] => this.volumes().filter((v) => v.poolId === poolId);

  move = (volumeId: string): KeptMove | undefined => this.#moves.get(volumeId);

  async putPool(p: KeptPool): Promise<void> {
    await this.#write(this.#dir, p.spec.poolId, p);
    this.#pools.set(p.spec.poolId, p);
  }

  async dropPool(poolId: string): Promise<void> {
    this.#pools.delete(poolId);
    await rm(join(this.#dir, `${checkId('pool', poolId)}.json`), { force: true });
  }

  async putVolume(v: KeptVolume): Promise<void> {
    await this.#write(this.#volumesDir, v.volumeId, v);
    this.#volumes.set(v.volumeId, v);
  }

  async dropVolume(volumeId: string): Promise<void> {
    this.#volumes.delete(volumeId);
    await this.#remove(this.#volumesDir, volumeId);
  }

  async putMove(m: KeptMove): Promise<void> {
    await this.#write(this.#movesDir, m.volumeId, m);
    this.#moves.set(m.volumeId, m);
  }

  async dropMove(volumeId: string): Promise<void> {
    this.#moves.delete(volumeId);
    await this.#remove(this.#movesDir, volumeId);
  }

  /** Whole or not at all, also after a power cut. */
  async #write(dir: string, id: string, value: object): Promise<void> {
    const half = join(dir, `.${id}.half`);
    const file = await open(half, 'w', 0o600);
    try {
      await file.writeFile(`${JSON.stringify(value)}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(half, join(dir, `${id}.json`));
    await syncFolder(dir);
  }

  /** It does not come back after a power cut: what it spoke of may be elsewhere by then. */
  async #remove(dir: string, volumeId: string): Promise<void> {
    await rm(join(dir, `${checkId('volume', volumeId)}.json`), { force: true });
    await syncFolder(dir);
  }

  async #readAll<T>(dir: string, schema: z.ZodType<T>): Promise<T[]> {
    const names = (await readdir(dir)).filter((n) => n.endsWith('.json') && !n.startsWith('.'));
    const all = await Promise.all(names.map((n) => this.#read(join(dir, n), schema)));
    return all.filter((v) => v !== undefined);
  }

  async #read<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
    try {
      return schema.parse(JSON.parse(await readFile(file, 'utf8')));
    } catch (e) {
      this.log.warn({ err: e, file }, 'what is remembered of a pool makes no sense, and is passed over');
      return undefined;
    }
  }
}

async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  await folder.sync().finally(() => folder.close());
}
