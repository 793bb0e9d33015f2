/**
 * The last ten minutes of many series, in memory and nowhere else. All share one grid of time, so that a sample is its place and
 * nothing more: 16 bits, the logarithm of the value (0.07 % apart). A series takes 960 bytes; there are 100,000 at most,
 * which is 92 MiB, and none for what is beyond that.
 */

/** What is kept of a VM or a host; the unit is what the smallest value that differs from 0 is about. */
const UNITS = {
  cpuUsed: 1e-4,
  memoryUsedBytes: 1_024,
  diskReadBytes: 1,
  diskWriteBytes: 1,
  diskOperations: 1e-2,
  diskMs: 1e-3,
  netReceiveBytes: 1,
  netTransmitBytes: 1,
} as const;
type Field = keyof typeof UNITS;
const FIELDS = Object.keys(UNITS) as readonly Field[];

export type Values = Readonly<Record<Field, number>>;
export interface Point extends Values {
  readonly atMs: number;
}

export const SLOTS = 60;
const SPAN_MS = 600_000;
const PER_SERIES = FIELDS.length * SLOTS;
/** Series are made room for by so many. */
const CHUNK = 256;
const NONE = 0xffff;
const STEPS = 1_024;

const encode = (value: number, unit: number): number =>
  value > 0 ? Math.min(NONE - 1, Math.round(Math.log2(1 + value / unit) * STEPS)) : 0;
const decode = (code: number, unit: number): number => unit * (2 ** (code / STEPS) - 1);

export interface HistoryOptions {
  /** How often samples come. More often than every ten seconds: the last one of each ten seconds is kept. */
  readonly everyMs: number;
  /** How often they come at least; what is the mean of so long a time stands for all of it. Default: everyMs. */
  readonly slowMs?: number;
  readonly most?: number;
}

export class History {
  /** Of a place in the grid of time. */
  readonly stepMs: number;
  private readonly most: number;
  /** So many slots a mean may stand for. */
  private readonly reach: number;
  private readonly places = new Map<string, number>();
  private readonly chunks: Uint16Array[] = [];
  /** The newest slot of each place. */
  private readonly newest: Float64Array[] = [];
  private free: number[] = [];

  constructor(o: HistoryOptions) {
    this.stepMs = Math.max(o.everyMs, SPAN_MS / SLOTS);
    this.most = o.most ?? 100_000;
    // one more: a sample may come a little late
    this.reach = Math.ceil((o.slowMs ?? 0) / this.stepMs) + 1;
  }

  get size(): number {
    return this.places.size;
  }
  /** What the samples take. */
  get bytes(): number {
    return this.chunks.length * CHUNK * (PER_SERIES * 2 + 8);
  }

  /**
   * @param nowMs of a clock that never goes back; the same that `points` is asked with.
   * @param isMean of the time since the sample before, for which it stands when that is not too long.
   */
  add(id: string, nowMs: number, values: Values, isMean = false): void {
    const place = this.places.get(id) ?? this.take(id);
    if (place === undefined) return;
    const slot = Math.floor(nowMs / this.stepMs);
    const chunk = this.chunks[Math.floor(place / CHUNK)];
    const newest = this.newest[Math.floor(place / CHUNK)];
    if (chunk === undefined || newest === undefined) return;
    const at = (place % CHUNK) * PER_SERIES;
    const last = newest[place % CHUNK] ?? 0;
    if (slot < last || slot - last >= SLOTS) chunk.fill(NONE, at, at + PER_SERIES);
    else if (isMean && slot - last <= this.reach)
      for (let s = last + 1; s < slot; s++) write(chunk, at + placeOf(s), values);
    else for (let s = last + 1; s < slot; s++) chunk.fill(NONE, at + placeOf(s), at + placeOf(s) + FIELDS.length);
    newest[place % CHUNK] = slot;
    write(chunk, at + placeOf(slot), values);
  }

  /** Oldest first; where no sample came, there is no point. */
  points(id: string, nowMs: number): Point[] {
    const place = this.places.get(id);
    const chunk = place === undefined ? undefined : this.chunks[Math.floor(place / CHUNK)];
    if (place === undefined || chunk === undefined) return [];
    const at = (place % CHUNK) * PER_SERIES;
    const last = this.newest[Math.floor(place / CHUNK)]?.[place % CHUNK] ?? 0;
    const oldest = Math.floor(nowMs / this.stepMs) - SLOTS + 1;
    const points: Point[] = [];
    for (let slot = Math.max(oldest, last - SLOTS + 1); slot <= last; slot++) {
      const from = at + placeOf(slot);
      if (chunk[from] === NONE) continue;
      const values = FIELDS.map((field, i) => [field, decode(chunk[from + i] ?? 0, UNITS[field])]);
      points.push({ atMs: slot * this.stepMs, ...(Object.fromEntries(values) as Values) });
    }
    return points;
  }

  forget(id: string): void {
    const place = this.places.get(id);
    if (place === undefined) return;
    this.places.delete(id);
    this.free.push(place);
  }

  ids(): IterableIterator<string> {
    return this.places.keys();
  }

  /** A place for a new series; undefined when there are too many. */
  private take(id: string): number | undefined {
    if (this.places.size >= this.most) return undefined;
    if (this.free.length === 0) {
      const first = this.chunks.length * CHUNK;
      this.chunks.push(new Uint16Array(CHUNK * PER_SERIES));
      this.newest.push(new Float64Array(CHUNK));
      this.free = Array.from({ length: CHUNK }, (_, i) => first + CHUNK - 1 - i);
    }
    const place = this.free.pop();
    if (place === undefined) return undefined;
    this.places.set(id, place);
    const newest = this.newest[Math.floor(place / CHUNK)];
    if (newest) newest[place % CHUNK] = -SLOTS; // of a series that is over
    return place;
  }
}

/** Where the values of a slot lie in a series. Slots are counted from the start of the process, so those before it are negative. */
const placeOf = (slot: number): number => (((slot % SLOTS) + SLOTS) % SLOTS) * FIELDS.length;

/** In the order of UNITS. */
function write(chunk: Uint16Array, from: number, v: Values): void {
  chunk[from] = encode(v.cpuUsed, UNITS.cpuUsed);
  chunk[from + 1] = encode(v.memoryUsedBytes, UNITS.memoryUsedBytes);
  chunk[from + 2] = encode(v.diskReadBytes, UNITS.diskReadBytes);
  chunk[from + 3] = encode(v.diskWriteBytes, UNITS.diskWriteBytes);
  chunk[from + 4] = encode(v.diskOperations, UNITS.diskOperations);
  chunk[from + 5] = encode(v.diskMs, UNITS.diskMs);
  chunk[from + 6] = encode(v.netReceiveBytes, UNITS.netReceiveBytes);
  chunk[from + 7] = encode(v.netTransmitBytes, UNITS.netTransmitBytes);
}
