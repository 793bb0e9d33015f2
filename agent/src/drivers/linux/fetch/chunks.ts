/**
 * Chunks of an image on their way into the copy: each is read from the source once, checked against its hash where the hashes
 * are known, and handed out to whoever waits for it. What does not fit its hash is thrown away and read from another source.
 * Keeps a few, because the storage daemon asks for a chunk in pieces.
 */
import { webcrypto } from 'node:crypto';
import { CHUNK_BYTES, type ChunkHashes } from '@berth/shared/disk/digest.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';

export interface ChunkLink {
  read(offset: number, length: number, urgent: boolean): Promise<Buffer>;
  blockStatus(offset: number, length: number, urgent: boolean): Promise<readonly NbdExtent[]>;
}

export interface ChunksOptions {
  readonly link: ChunkLink;
  readonly sizeBytes: number;
  /** Undefined: nobody could give them; then only the whole can be checked, when it is there. */
  readonly hashes: ChunkHashes | undefined;
  /** The source gave a chunk that is not the image's. */
  readonly onWrong: (index: number) => void;
}

const PIECE_BYTES = 2 ** 20;
/** Beside those that somebody waits for. */
const KEPT = 6;

interface Loading {
  readonly data: Promise<Buffer>;
  ready: boolean;
}

export class Chunks {
  private readonly all = new Map<number, Loading>();
  private readonly background = new Set<number>();
  /** Read for a guest, so here, and not yet whole in the copy. */
  private readonly fresh = new Set<number>();

  constructor(private readonly o: ChunksOptions) {}

  /** Its bytes, as many as the disk has there. Rejects only when the fetch ends. */
  get(index: number): Promise<Buffer> {
    const there = this.all.get(index);
    if (there) return there.data;
    const urgent = !this.background.has(index);
    const loading: Loading = { data: this.load(index, urgent), ready: false };
    this.all.set(index, loading);
    loading.data.then(
      () => {
        loading.ready = true;
        if (urgent) this.fresh.add(index);
        this.forgetSome();
      },
      () => this.all.delete(index),
    );
    return loading.data;
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

  /** It is in the copy. */
  forget(index: number): void {
    this.fresh.delete(index);
    if (this.all.get(index)?.ready === true) this.all.delete(index);
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
    for (const index of ready.slice(0, Math.max(0, ready.length - KEPT))) this.forget(index);
  }

  private async load(index: number, urgent: boolean): Promise<Buffer> {
    const { hashes, onWrong } = this.o;
    const length = this.lengthOf(index);
    if (hashes?.isZero(index) === true) return Buffer.alloc(length);
    for (;;) {
      const data = await this.fetch(index, length, urgent);
      if (hashes === undefined || (await fits(data, hashes.get(index)))) return data.subarray(0, length);
      onWrong(index);
    }
  }

  private lengthOf(index: number): number {
    return Math.min(CHUNK_BYTES, this.o.sizeBytes - index * CHUNK_BYTES);
  }

  /** Padded with zeros to a whole chunk. What the source calls zeros is not asked for. */
  private async fetch(index: number, length: number, urgent: boolean): Promise<Buffer> {
    const { link } = this.o;
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const start = index * CHUNK_BYTES;
    const extents = await this.extents(index, (at, n) => link.blockStatus(at, n, urgent));
    const pieces = extents.filter((e) => !e.zero).flatMap(inPieces);
    await Promise.all(
      pieces.map(async (p) => (await link.read(p.offset, p.length, urgent)).copy(chunk, p.offset - start)),
    );
    return length < CHUNK_BYTES ? chunk.fill(0, length) : chunk;
  }

  private async extents(
    index: number,
    ask: (offset: number, length: number) => Promise<readonly NbdExtent[]>,
  ): Promise<readonly NbdExtent[]> {
    const extents: NbdExtent[] = [];
    const end = index * CHUNK_BYTES + this.lengthOf(index);
    for (let at = index * CHUNK_BYTES; at < end;) {
      for (const e of await ask(at, end - at)) {
        extents.push(e);
        at = e.offset + e.length;
      }
    }
    return extents;
  }
}

function inPieces({ offset, length }: NbdExtent): readonly { readonly offset: number; readonly length: number }[] {
  return Array.from({ length: Math.ceil(length / PIECE_BYTES) }, (_, i) => ({
    offset: offset + i * PIECE_BYTES,
    length: Math.min(PIECE_BYTES, length - i * PIECE_BYTES),
  }));
}

const fits = async (chunk: Buffer, hash: Uint8Array): Promise<boolean> =>
  Buffer.compare(new Uint8Array(await webcrypto.subtle.digest('SHA-256', chunk)), hash) === 0;
