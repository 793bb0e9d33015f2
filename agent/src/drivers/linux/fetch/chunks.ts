/**
 * Chunks of an image on their way into the copy: each is read from the source once, checked against its hash where the hashes
 * are known, and handed out to whoever waits for it. What does not fit its hash is thrown away and read from another source.
 * Keeps a few, because the storage daemon asks for a chunk in pieces. Other hosts get pieces as they come (arriving.ts).
 */
import { webcrypto } from 'node:crypto';
import { CHUNK_BYTES, type ChunkHashes } from '@berth/shared/disk/digest.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';
import { Arriving } from './arriving.ts';

export interface ChunkLink {
  /** So many connections there have been to sources. */
  readonly connections: number;
  /** As many bytes as `target` has. */
  read(target: Buffer, offset: number, urgent: boolean): Promise<void>;
  blockStatus(offset: number, length: number, urgent: boolean): Promise<readonly NbdExtent[]>;
}

export interface ChunksOptions {
  readonly link: ChunkLink;
  readonly sizeBytes: number;
  /** Undefined: nobody could give them; then only the whole can be checked, when it is there. */
  readonly hashes: ChunkHashes | undefined;
  /** The source gave a chunk that is not the image's. */
  readonly onWrong: (index: number) => void;
  /** A part was passed on of a chunk that is not the image's. */
  readonly onPassedWrong?: () => void;
}

/** In which chunks are asked for, and passed on. */
export const PIECE_BYTES = 2 ** 19;
/** Beside those that somebody waits for. */
const KEPT = 6;
/** A chunk whose pieces came over several connections may be nobody's fault, so often. */
const MIXED = 2;
/** Of one chunk. A source that tells of more is none that knows what is zeros in it: all of it is asked for. */
const MOST_EXTENTS = 1_024;

interface Loading {
  readonly data: Promise<Buffer>;
  arriving: Arriving;
  ready: boolean;
}

export class Chunks {
  private readonly all = new Map<number, Loading>();
  private readonly background = new Set<number>();
  /** Read for a guest, so here, and not yet whole in the copy. */
  private readonly fresh = new Set<number>();

  /** By index: not zero when it is in the copy. */
  private readonly copied: Uint8Array;

  constructor(private readonly o: ChunksOptions) {
    this.copied = new Uint8Array(Math.ceil(o.sizeBytes / CHUNK_BYTES));
  }

  /** Its bytes, as many as the disk has there. Rejects only when the fetch ends. */
  get(index: number): Promise<Buffer> {
    return this.loading(index, !this.background.has(index)).data;
  }

  /** For another host: what has come of it so far can be had. Undefined: all of it is in the copy. */
  arriving(index: number): Arriving | undefined {
    if (this.copied[index] !== 0) return this.all.get(index)?.arriving;
    const loading = this.loading(index, false);
    loading.data.catch(() => undefined);
    return loading.arriving;
  }

  private loading(index: number, urgent: boolean): Loading {
    const there = this.all.get(index);
    if (there) return there;
    const loading = { ready: false } as { -readonly [K in keyof Loading]: Loading[K] };
    loading.data = this.load(index, urgent, (arriving) => (loading.arriving = arriving));
    this.all.set(index, loading);
    const begun = this.background.has(index);
    loading.data.then(
      () => {
        loading.ready = true;
        if (!begun) this.fresh.add(index);
        this.forgetSome();
      },
      () => this.all.delete(index),
    );
    return loading;
  }

  /** While it is so, nobody but the filling waits for this chunk. */
  inBackground(index: number, is: boolean): void {
    if (is) this.background.add(index);
    else this.background.delete(index);
  }

  /** A chunk that a guest had read: it is here already, so it is the next to go into the copy. */
  nextFresh(): number | undefined {
    const [index] = this.fresh;
    if (index !== undefined) this.fresh.delete(index);
    return index;
  }

  /** What of it is data, and what zeros; undefined when it is not here just now. */
  extentsOf(index: number): readonly NbdExtent[] | undefined {
    return this.all.get(index)?.arriving.checkedExtents;
  }

  /** It is in the copy; other hosts still want it, so it is not forgotten at once. */
  isCopied(index: number): void {
    this.copied[index] = 1;
    this.fresh.delete(index);
  }

  /** The copy has all of it: nothing more is asked of the source. */
  allCopied(): void {
    this.copied.fill(1);
  }

  /** Those that are not zeros, in order; without hashes the source is asked. */
  async *dataChunks(): AsyncGenerator<number, undefined> {
    const { hashes, link, sizeBytes } = this.o;
    const count = Math.ceil(sizeBytes / CHUNK_BYTES);
    if (hashes) {
      for (let index = 0; index < count; index++) if (!hashes.isZero(index)) yield index;
      return undefined;
    }
    for (let at = 0, next = 0; at < sizeBytes;) {
      for (const e of await link.blockStatus(at, sizeBytes - at, false)) {
        at = e.offset + e.length;
        if (e.zero) continue;
        next = Math.max(next, Math.floor(e.offset / CHUNK_BYTES));
        for (; next * CHUNK_BYTES < at; next++) yield next;
      }
    }
    return undefined;
  }

  private forgetSome(): void {
    const ready = [...this.all].filter(([, l]) => l.ready).map(([i]) => i);
    // what is in the copy can be had there; of what is not, the daemon wants more
    ready.sort((one, other) => this.copied[other]! - this.copied[one]!);
    for (const index of ready.slice(0, Math.max(0, ready.length - KEPT))) {
      this.fresh.delete(index);
      this.all.delete(index);
    }
  }

  private async load(index: number, urgent: boolean, begins: (arriving: Arriving) => void): Promise<Buffer> {
    const { hashes, link, onPassedWrong, onWrong } = this.o;
    const length = this.lengthOf(index);
    for (let mixed = 0; ;) {
      const chunk = Buffer.alloc(hashes?.isZero(index) === true ? length : CHUNK_BYTES);
      const arriving = new Arriving(index * CHUNK_BYTES, chunk);
      begins(arriving);
      const connections = link.connections;
      if (await this.arrive(index, arriving, chunk, urgent)) return chunk.subarray(0, length);
      arriving.drop();
      if (arriving.passedOn) onPassedWrong?.();
      if (link.connections === connections || ++mixed > MIXED) onWrong(index);
    }
  }

  /** False: what came is not the image's. */
  private async arrive(index: number, arriving: Arriving, chunk: Buffer, urgent: boolean): Promise<boolean> {
    const { hashes } = this.o;
    try {
      if (hashes?.isZero(index) === true)
        arriving.expect([{ offset: index * CHUNK_BYTES, length: chunk.length, zero: true }], []);
      else await this.fetch(index, arriving, chunk, urgent);
    } catch (e) {
      arriving.drop();
      throw e;
    }
    const right = hashes === undefined || hashes.isZero(index) || (await fits(chunk, hashes.get(index)));
    if (right) arriving.check();
    return right;
  }

  private lengthOf(index: number): number {
    return Math.min(CHUNK_BYTES, this.o.sizeBytes - index * CHUNK_BYTES);
  }

  /** Into `chunk`, with zeros up to a whole one. What the source calls zeros is not asked for. */
  private async fetch(index: number, arriving: Arriving, chunk: Buffer, urgent: boolean): Promise<void> {
    const { link } = this.o;
    const start = index * CHUNK_BYTES;
    const extents = await this.extents(index, (at, n) => link.blockStatus(at, n, urgent));
    const pieces = extents.filter((e) => !e.zero).flatMap(inPieces);
    arriving.expect(extents, pieces);
    await Promise.all(
      pieces.map(async (p) => {
        await link.read(chunk.subarray(p.offset - start, p.offset - start + p.length), p.offset, urgent);
        arriving.came(p);
      }),
    );
    // a source may give more than the disk has
    chunk.fill(0, this.lengthOf(index));
  }

  private async extents(
    index: number,
    ask: (offset: number, length: number) => Promise<readonly NbdExtent[]>,
  ): Promise<readonly NbdExtent[]> {
    const extents: NbdExtent[] = [];
    const offset = index * CHUNK_BYTES;
    const end = offset + this.lengthOf(index);
    for (let at = offset; at < end;) {
      for (const e of await ask(at, end - at)) {
        extents.push(e);
        at = e.offset + e.length;
      }
      if (extents.length > MOST_EXTENTS) return [{ offset, length: end - offset, zero: false }];
    }
    return extents;
  }
}

function inPieces({ offset, length, zero }: NbdExtent): readonly NbdExtent[] {
  return Array.from({ length: Math.ceil(length / PIECE_BYTES) }, (_, i) => ({
    offset: offset + i * PIECE_BYTES,
    length: Math.min(PIECE_BYTES, length - i * PIECE_BYTES),
    zero,
  }));
}

const fits = async (chunk: Buffer, hash: Uint8Array): Promise<boolean> =>
  Buffer.compare(new Uint8Array(await webcrypto.subtle.digest('SHA-256', chunk)), hash) === 0;
