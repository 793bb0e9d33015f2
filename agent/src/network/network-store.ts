/**
 * What this host remembers of logical networks: one small file each, `networks/<network id>.json` below the data directory, written
 * before what it speaks of is made and removed after it is gone.
 */
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import type { Log } from '@berth/shared/log/log.ts';
import { NETWORK_KINDS } from '@berth/shared/model/network.ts';
import { checkId } from '../ids.ts';
import { checkNetworkSpec, type NetworkSpec } from './network-spec.ts';

const Kept = z.object({
  version: z.literal(1),
  /** It shall not be here, but could not be taken away yet. */
  leaving: z.boolean().optional(),
  spec: z.object({
    ...{ networkId: z.string(), name: z.string(), generation: z.number() },
    shape: z.object({
      ...{ kind: z.enum(NETWORK_KINDS), bridge: z.string(), addresses: z.array(z.string()).readonly() },
      ...{ dhcpRange: z.string(), stp: z.boolean(), delaySeconds: z.number() },
    }),
  }),
});

interface Held {
  readonly spec: NetworkSpec;
  readonly leaving: boolean;
}

export class NetworkStore {
  readonly #held = new Map<string, Held>();
  readonly #dir: string;

  constructor(
    dataDir: string,
    private readonly log: Log,
  ) {
    this.#dir = join(dataDir, 'networks');
  }

  /** Before anything else is asked. A file that makes no sense is passed over, and told of. */
  async load(): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#dir)) {
      if (!name.endsWith('.json') || name.startsWith('.')) continue;
      const held = await this.#read(join(this.#dir, name));
      if (held) this.#held.set(held.spec.networkId, held);
    }
  }

  /** Those that shall be here. */
  all = (): readonly NetworkSpec[] => this.#those(false);
  /** Those that shall not, of which something may be here. */
  leaving = (): readonly NetworkSpec[] => this.#those(true);
  /** Of either. */
  get = (networkId: string): NetworkSpec | undefined => this.#held.get(networkId)?.spec;
  isLeaving = (networkId: string): boolean => this.#held.get(networkId)?.leaving === true;

  /** Whole or not at all, also after a power cut. */
  put = (spec: NetworkSpec): Promise<void> => this.#write({ spec, leaving: false });

  /** It is remembered until it is gone. */
  putLeaving = (spec: NetworkSpec): Promise<void> => this.#write({ spec, leaving: true });

  async #write(held: Held): Promise<void> {
    const { spec, leaving } = held;
    const half = join(this.#dir, `.${checkId('network', spec.networkId)}.half`);
    const file = await open(half, 'w', 0o600);
    try {
      await file.writeFile(`${JSON.stringify({ version: 1, ...(leaving && { leaving }), spec })}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(half, this.#path(spec.networkId));
    await this.#syncFolder();
    this.#held.set(spec.networkId, held);
  }

  async drop(networkId: string): Promise<void> {
    this.#held.delete(networkId);
    await rm(this.#path(networkId), { force: true });
    await this.#syncFolder();
  }

  #those = (leaving: boolean): NetworkSpec[] =>
    [...this.#held.values()].filter((h) => h.leaving === leaving).map((h) => h.spec);

  #path = (networkId: string): string => join(this.#dir, `${checkId('network', networkId)}.json`);

  async #syncFolder(): Promise<void> {
    const folder = await open(this.#dir, 'r');
    await folder.sync().finally(() => folder.close());
  }

  async #read(file: string): Promise<Held | undefined> {
    try {
      const { spec, leaving = false } = Kept.parse(JSON.parse(await readFile(file, 'utf8')));
      return { spec: checkNetworkSpec(spec), leaving };
    } catch (e) {
      this.log.warn({ err: e, file }, 'what is remembered of a network makes no sense, and is passed over');
      return undefined;
    }
  }
}
