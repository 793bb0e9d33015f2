/**
 * One chunk of an image on its way here, which others may be given before all of it has come. Its last bytes are held back
 * until the whole has been checked: nobody gets all of a chunk that is not the image's, and whoever passed a part of one on
 * says so in time. Knows neither sources nor hashes.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { NbdExtent } from '../disks/nbd-wire.ts';

interface Waiting {
  readonly from: number;
  readonly to: number;
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (e: Error) => void;
}

export class Arriving {
  /** A part of it has been given out. */
  passedOn = false;
  private missing: readonly NbdExtent[] | undefined;
  private lastByte = 0;
  private checked = false;
  private failure: Error | undefined;
  private readonly waiting = new Set<Waiting>();
  private readonly waitingExtents = new Set<() => void>();
  private known: readonly NbdExtent[] = [];

  /** @param start of the chunk in the image. @param bytes of the whole chunk, zeros at first */
  constructor(
    private readonly start: number,
    private readonly bytes: Buffer,
  ) {}

  /** What of it is zeros, in offsets of the image. @param pieces which will come */
  expect(extents: readonly NbdExtent[], pieces: readonly NbdExtent[]): void {
    this.known = extents;
    this.missing = pieces;
    this.lastByte = Math.max(0, ...pieces.map((p) => p.offset + p.length - this.start));
    for (const told of this.waitingExtents) told();
    this.waitingExtents.clear();
    this.wake();
  }

  /** This piece lies in the bytes. */
  came(piece: NbdExtent): void {
    this.missing = this.missing?.filter((m) => m !== piece);
    this.wake();
  }

  /** All of it has come, and it is the image's. */
  check(): void {
    this.checked = true;
    this.wake();
  }

  /** It is not, or nobody gives it: who waits for it is told, and asks again. */
  drop(): void {
    this.failure = new ClusterError('PEER_UNAVAILABLE', 'this part of the image is being read again');
    for (const w of this.waiting) w.reject(this.failure);
    this.waiting.clear();
    for (const told of this.waitingExtents) told();
    this.waitingExtents.clear();
  }

  async extents(): Promise<readonly NbdExtent[]> {
    if (!this.missing && !this.failure) await new Promise<void>((resolve) => this.waitingExtents.add(resolve));
    if (this.failure) throw this.failure;
    return this.known;
  }

  /** The same, of a chunk that is here and has been checked. */
  get checkedExtents(): readonly NbdExtent[] | undefined {
    return this.checked ? this.known : undefined;
  }

  /** Bytes of the chunk, as soon as these have come. */
  part(from: number, to: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.waiting.add({ from, to, resolve, reject });
      if (this.failure) reject(this.failure);
      else this.wake();
    });
  }

  private wake(): void {
    for (const w of this.waiting) {
      if (!this.isHere(w)) continue;
      this.waiting.delete(w);
      this.passedOn = true;
      w.resolve(this.bytes.subarray(w.from, w.to));
    }
  }

  private isHere({ from, to }: Waiting): boolean {
    if (this.checked) return true;
    if (!this.missing || to >= this.lastByte) return false;
    const [first, last] = [this.start + from, this.start + to];
    return this.missing.every((m) => m.offset >= last || m.offset + m.length <= first);
  }
}
