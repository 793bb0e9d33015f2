/**
 * Many hosts that copy one image at the same time, piece by piece over links of limited speed, each from whom the controller's
 * own choice (controller/src/distribution) sends it to. Virtual time; no agents, no jobs. Told afterwards: when each host had
 * it all, and what the source has sent.
 */
import { setImmediate } from 'node:timers/promises';
import { betterSource, mayBeHeldBack, sourcesFor, type Swarm } from '@berth/controller/distribution/swarm.ts';
import { Swarms } from '@berth/controller/distribution/swarms.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';

export interface FanOutOptions {
  readonly hosts: number;
  /** Hosts beside these that have the image; default 1. */
  readonly holders?: number;
  readonly imageBytes: number;
  readonly pieceBytes: number;
  /** A piece is passed on in parts of so many bytes, as they come; default `pieceBytes`. */
  readonly partBytes?: number;
  /** What a host needs to pass on a part that has just come; default 0. */
  readonly passMs?: number;
  /** Of every link, each way. */
  readonly bytesPerSecond: number;
  /** From being given a source that has something to being able to pass it on. */
  readonly hopMs: number;
  /** Until a host that has lost its source, or is held back by it, is given another. */
  readonly lookMs: number;
  /** A source that says nothing for so long is lost. */
  readonly silentMs: number;
  /** Share of the usual speed of links, by number of the host (from 0). */
  readonly slow?: ReadonlyMap<number, number>;
  /** Share of the usual speed with which a host sends, by number. */
  readonly slowSending?: ReadonlyMap<number, number>;
  /** Share of its speed that a host has at a time, because its machine does other things too. */
  readonly pace?: (host: number, atMs: number) => number;
  /** When hosts die without a word, by number. */
  readonly deaths?: ReadonlyMap<number, number>;
}

export interface FanOutResult {
  /** When each host that lived had it all, in order. */
  readonly doneMs: readonly number[];
  /** By the holder that sent most. */
  readonly sourceSentBytes: number;
  /** How often a host was given another source though the one that it had answered. */
  readonly moves: number;
}

interface SimHost {
  readonly id: HostId;
  readonly number: number;
  readonly speed: number;
  readonly sendSpeed: number;
  from: SimHost | undefined;
  /** Pieces that it has: it reads in order, so a number says it all. */
  pieces: number;
  /** The one that it is reading now. */
  reading: { readonly index: number; readonly beginMs: number; readonly endMs: number } | undefined;
  /** Can pass on from then on. */
  readyMs: number;
  dead: boolean;
  doneMs: number | undefined;
  sentBytes: number;
  /** Reads that are under way from it. */
  sending: number;
  usedSpeed: number;
  waiting: SimHost[];
  /** Of the read under way: another source makes it void. */
  turn: number;
}

const IMAGE = 'img-1' as ImageId;
/** Events after which others of this process have their turn. */
const BREATH = 50_000;

export class FanOut {
  private nowMs = 0;
  private moves = 0;
  private readonly queue = new Heap();
  private readonly sources: readonly SimHost[];
  private readonly hosts: SimHost[];
  private readonly total: number;
  private readonly swarms = new Swarms();

  constructor(private readonly options: FanOutOptions) {
    this.total = Math.ceil(options.imageBytes / options.pieceBytes);
    this.sources = Array.from({ length: options.holders ?? 1 }, (_, i) => this.host(`s${i}`, -1 - i, this.total, 0));
    this.hosts = Array.from({ length: options.hosts }, (_, i) =>
      this.host(`h${String(i).padStart(5, '0')}`, i, 0, Infinity),
    );
  }

  async run(): Promise<FanOutResult> {
    for (const [i, atMs] of this.options.deaths ?? []) this.queue.push(atMs, () => this.die(this.hosts[i]));
    for (const h of this.hosts) this.choose(h);
    for (const h of this.hosts) this.look(h);
    for (let next = this.queue.pop(), count = 1; next; next = this.queue.pop(), count++) {
      this.nowMs = next.atMs;
      next.run();
      if (count % BREATH === 0) await setImmediate();
    }
    const doneMs = this.hosts.filter((h) => !h.dead).map((h) => h.doneMs ?? Infinity);
    return {
      doneMs: doneMs.sort((a, b) => a - b),
      moves: this.moves,
      sourceSentBytes: Math.max(...this.sources.map((s) => s.sentBytes)),
    };
  }

  private host(id: string, number: number, pieces: number, readyMs: number): SimHost {
    const speed = this.options.slow?.get(number) ?? 1;
    return {
      ...{
        id: id as HostId,
        number,
        speed,
        sendSpeed: Math.min(speed, this.options.slowSending?.get(number) ?? 1),
        from: undefined,
        pieces,
        reading: undefined,
        readyMs,
        dead: false,
        doneMs: undefined,
        sentBytes: 0,
      },
      ...{ sending: 0, usedSpeed: 0, waiting: [], turn: 0 },
    };
  }

  private tell(h: SimHost): void {
    if (h.dead || h.doneMs !== undefined) return this.swarms.leave(IMAGE, h.id, h.doneMs !== undefined);
    this.swarms.progress(IMAGE, h.id, h.pieces * this.options.pieceBytes, this.nowMs, () => true);
  }

  private swarm(): Swarm {
    return this.swarms.swarm(IMAGE, this.nowMs, { holders: () => this.holders(), relays: () => true });
  }

  /** As in the controller: the least busy first, and of those that are the same the one that got it last. */
  private holders(): readonly HostId[] {
    const whole = [...this.hosts.filter((h) => h.doneMs !== undefined && !h.dead), ...this.sources];
    return whole.sort((a, b) => a.sentBytes - b.sentBytes).map((h) => h.id);
  }

  private find = (id: HostId | undefined): SimHost | undefined =>
    (id?.startsWith('s') ? this.sources : this.hosts)[Number(id?.slice(1))];

  private choose(h: SimHost, wanted = sourcesFor(this.swarm(), h.id)[0]): void {
    h.from = this.find(wanted);
    h.turn++;
    h.reading = undefined;
    this.tell(h);
    this.swarms.feed(IMAGE, h.id, h.from?.id, this.nowMs);
    if (h.readyMs === Infinity) this.connect(h, h.turn);
    else this.read(h, h.turn);
  }

  /** The greeting of an export comes through the chain, one host after the other. */
  private connect(h: SimHost, turn: number): void {
    if (h.turn !== turn || h.dead || !h.from) return;
    if (h.from.readyMs > this.nowMs) return void h.from.waiting.push(h);
    this.queue.push(this.nowMs + this.options.hopMs, () => {
      if (h.turn !== turn || h.dead) return;
      h.readyMs = this.nowMs;
      this.read(h, turn);
      this.wake(h);
    });
  }

  private wake(h: SimHost): void {
    for (const w of h.waiting.splice(0)) {
      if (w.readyMs === Infinity) this.connect(w, w.turn);
      else this.read(w, w.turn);
    }
  }

  private read(h: SimHost, turn: number): void {
    const { from } = h;
    if (!from || h.turn !== turn || h.dead || h.doneMs !== undefined) return;
    const availableMs = this.availableMs(from, h.pieces);
    if (from.dead || availableMs === undefined || from.readyMs > this.nowMs) return void from.waiting.push(h);
    from.sending++;
    const { pieceBytes, bytesPerSecond } = this.options;
    const sends = from.sendSpeed * this.pace(from);
    // what others leave, at least a fair part
    const speed = Math.min(h.speed * this.pace(h), Math.max(sends - from.usedSpeed, sends / from.sending));
    from.usedSpeed += speed;
    const beginMs = Math.max(this.nowMs, availableMs);
    const lastMs = from.reading?.index === h.pieces ? from.reading.endMs + this.leadMs(from) : 0;
    const endMs = Math.max(beginMs + (pieceBytes / (speed * bytesPerSecond)) * 1_000, lastMs);
    h.reading = { index: h.pieces, beginMs, endMs };
    this.queue.push(endMs, () => {
      from.sending--;
      from.usedSpeed -= speed;
      if (h.turn === turn) h.reading = undefined;
      const isVoid = h.dead || h.turn !== turn || from.dead || from.pieces <= h.pieces;
      if (isVoid) return h.turn === turn ? void from.waiting.push(h) : undefined;
      from.sentBytes += pieceBytes;
      this.got(h);
      this.read(h, turn);
    });
    this.wake(h);
  }

  /** Of one that does nothing else; those that have the image are no part of what is tried. */
  private pace({ number }: SimHost): number {
    return number < 0 ? 1 : (this.options.pace?.(number, this.nowMs) ?? 1);
  }

  /** When the first part of it can be had; undefined: nobody knows yet. */
  private availableMs(from: SimHost, piece: number): number | undefined {
    if (from.pieces > piece) return 0;
    return from.reading?.index === piece ? from.reading.beginMs + this.leadMs(from) : undefined;
  }

  /** So much later than `from` a host has what that reads. */
  private leadMs(from: SimHost): number {
    const { pieceBytes, partBytes = pieceBytes, passMs = 0, bytesPerSecond } = this.options;
    return (partBytes / (from.speed * bytesPerSecond)) * 1_000 + passMs;
  }

  private got(h: SimHost): void {
    h.pieces++;
    if (h.pieces === this.total) {
      h.doneMs = this.nowMs;
      this.tell(h);
    }
    this.wake(h);
  }

  private die(h: SimHost | undefined): void {
    if (!h || h.doneMs !== undefined) return;
    h.dead = true;
    this.tell(h);
    this.queue.push(this.nowMs + this.options.silentMs, () => {
      for (const other of this.hosts)
        if (other.from === h && other.doneMs === undefined && !other.dead) this.choose(other);
    });
  }

  /** As a job of the controller looks at its operation now and then. */
  private look(h: SimHost): void {
    this.queue.push(this.nowMs + this.options.lookMs, () => {
      if (h.dead || h.doneMs !== undefined) return;
      const { imageBytes, pieceBytes } = this.options;
      const sizes = { imageBytes, pieceBytes };
      this.tell(h);
      const better = mayBeHeldBack(this.swarm(), h.id, sizes) ? betterSource(this.swarm(), h.id, sizes) : undefined;
      if (better !== undefined) {
        this.moves++;
        this.choose(h, better);
      }
      this.look(h);
    });
  }
}

interface Due {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

/** What is due, soonest first; what is due at the same time in the order in which it came. */
class Heap {
  private readonly items: Due[] = [];
  private order = 0;

  push(atMs: number, run: () => void): void {
    const { items } = this;
    let i = items.push({ atMs, order: this.order++, run }) - 1;
    for (let up = (i - 1) >> 1; i > 0 && before(items[i]!, items[up]!); i = up, up = (i - 1) >> 1) swap(items, i, up);
  }

  pop(): Due | undefined {
    const { items } = this;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first;
    items[0] = last;
    for (let i = 0; ;) {
      const least = [2 * i + 1, 2 * i + 2].reduce(
        (l, c) => (c < items.length && before(items[c]!, items[l]!) ? c : l),
        i,
      );
      if (least === i) return first;
      swap(items, i, least);
      i = least;
    }
  }
}

const before = (a: Due, b: Due): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
function swap(items: Due[], a: number, b: number): void {
  [items[a], items[b]] = [items[b]!, items[a]!];
}
