/**
 * What is known of the copies of images that are under way: who reads from whom, how far each is and how fast. Told by the jobs
 * that copy, while they look at their hosts; in memory only, and forgotten when nobody has told it for a while. What hosts are
 * asked for it is asked once a second for all who copy the same image. swarm.ts decides by it.
 */
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { mostFed, SLOW, SLOW_LOOKS, WORTH, type Member, type Swarm } from './swarm.ts';

/** A job looks at its host every two seconds, at the slowest every five. */
const FORGOTTEN_MS = 15_000;
/** A speed is measured over at least so long. */
const SPAN_MS = 2_000;
/** Hosts are looked at again for an image. */
const LOOK_MS = 1_000;

/** At so many looks a new first shows whether it is faster. */
const TRIED_LOOKS = 2;

interface Seen extends Member {
  /** Where the measurement of its speed begins. */
  readonly mark: { readonly atMs: number; readonly bytes: number };
  /** Where it was when it got the source it has. */
  readonly fed: { readonly atMs: number; readonly bytes: number };
  readonly atMs: number;
  /** When it was first told of, and how far it was. */
  readonly begun: { readonly atMs: number; readonly bytes: number };
  /** At so many more looks it must be slow before it is believed to be: twice as many each time that it was changed for it. */
  readonly patience: number;
}

/** Of one image. */
interface Copies {
  readonly members: Map<HostId, Seen>;
  holders: Set<HostId>;
  fed: ReadonlyMap<HostId, number>;
  lookedAtMs: number;
  /**
   * How fast the fastest was of those that are done. All who are left may be slow, for they read from one that is slow to send, and the
   * others have it all in less time than it takes to see that.
   */
  doneBytesPerSecond: number;
  /** Hosts that gave others so little that these left them. */
  readonly slowSenders: Set<HostId>;
}

/** What is asked of hosts. */
export interface Look {
  /** Those that have the whole image and can be reached, the least busy first. */
  holders(): Iterable<HostId>;
  /** Whether a host can pass on what it has while it copies. */
  relays(hostId: HostId): boolean;
}

export class Swarms {
  readonly #images = new Map<ImageId, Copies>();

  /** It reads from this host from now on; undefined: from nobody. */
  feed(imageId: ImageId, hostId: HostId, from: HostId | undefined, atMs: number): void {
    const before = this.#find(imageId, hostId) ?? begun(hostId, { doneBytes: 0, atMs, relays: false });
    const { doneBytes, slowFor, patience: spent } = before;
    const patience = slowFor >= SLOW_LOOKS ? 2 * spent + SLOW_LOOKS : spent;
    const here = { atMs, bytes: doneBytes };
    const anew = { bytesPerSecond: undefined, meanBytesPerSecond: 0, looks: 0, slowFor: 0 - patience, patience };
    const isFirstLeft = slowFor >= SLOW_LOOKS && spent === 0;
    // one that is slow wherever it reads is slow itself
    if (isFirstLeft && before.from !== undefined) this.#copies(imageId).slowSenders.add(before.from);
    if (from !== undefined) this.#notePassed(imageId, before, from);
    this.#put(imageId, { ...before, from, atMs, mark: here, fed: here, ...anew });
  }

  /**
   * Who reads from the source of its source now has gone past that; if it gets little itself, then to see whose fault that is. One that
   * was slow behind a first that is not knows whose: such a first isn't tried, it sends slowly.
   */
  #notePassed(imageId: ImageId, { from: before, slowFor }: Seen, now: HostId): void {
    const source = before === undefined ? undefined : this.#find(imageId, before);
    const isFirst = source?.from === now && this.#copies(imageId).holders.has(now);
    if (!isFirst || source.slowFor >= SLOW_LOOKS) return;
    const firstBytesPerSecond = slowFor >= SLOW_LOOKS ? undefined : source.meanBytesPerSecond;
    this.#put(imageId, { ...source, passed: true, firstBytesPerSecond });
  }

  /** Those that were first before it are to blame if it is faster now than they were. */
  #judge(imageId: ImageId, { from, looks, meanBytesPerSecond }: Seen): void {
    const { holders, members } = this.#copies(imageId);
    if (from === undefined || !holders.has(from) || looks < TRIED_LOOKS) return;
    for (const m of members.values())
      if (m.firstBytesPerSecond !== undefined && m.from !== from)
        this.#put(imageId, { ...m, passed: meanBytesPerSecond >= WORTH * m.firstBytesPerSecond });
  }

  /** It is so far. Of one that was not known, nobody knows whom it reads from. @param relays asked when it is new */
  progress(imageId: ImageId, hostId: HostId, doneBytes: number, atMs: number, relays: () => boolean): void {
    const before = this.#find(imageId, hostId) ?? begun(hostId, { doneBytes, atMs, relays: relays() });
    const now = { ...before, doneBytes, atMs };
    if (atMs - before.mark.atMs < SPAN_MS) return this.#put(imageId, now);
    const bytesPerSecond = speed(before.mark, now);
    const measured = {
      ...{ ...now, bytesPerSecond, looks: before.looks + 1, mark: { atMs, bytes: doneBytes } },
      meanBytesPerSecond: speed(before.fed, now),
      slowFor: this.#slowFor(imageId, before, bytesPerSecond),
    };
    this.#put(imageId, measured);
    this.#judge(imageId, measured);
  }

  /** What the host itself says that it reads from: for where that has been forgotten, for one, by another process before this one. */
  reads(imageId: ImageId, hostId: HostId, from: HostId): void {
    const seen = this.#find(imageId, hostId);
    if (seen && seen.from === undefined) this.#put(imageId, { ...seen, from });
  }

  /** @param whole it has all of the image now: others may read it there at once. */
  leave(imageId: ImageId, hostId: HostId, whole: boolean): void {
    const copies = this.#images.get(imageId);
    const seen = copies?.members.get(hostId);
    copies?.members.delete(hostId);
    if (whole) copies?.holders.add(hostId);
    if (whole && copies && seen)
      copies.doneBytesPerSecond = Math.max(copies.doneBytesPerSecond, speed(seen.begun, seen));
    if (copies?.members.size === 0) this.#images.delete(imageId);
  }

  /** As it is now, but for what hosts were asked: that is up to a second old. It changes with what is told. */
  swarm(imageId: ImageId, nowMs: number, look: Look): Swarm {
    const copies = this.#copies(imageId);
    if (nowMs - copies.lookedAtMs < LOOK_MS) return copies;
    copies.lookedAtMs = nowMs;
    for (const [hostId, seen] of copies.members) {
      if (nowMs - seen.atMs > FORGOTTEN_MS) copies.members.delete(hostId);
      else copies.members.set(hostId, { ...seen, relays: look.relays(hostId) });
    }
    copies.holders = new Set(look.holders());
    copies.fed = mostFed(copies);
    return copies;
  }

  /**
   * Compared with what its source gets at the same time: what makes all of them slow makes none of them slow here. Of a source that has
   * it all, with the fastest.
   */
  #slowFor(imageId: ImageId, before: Seen, measured: number): number {
    const { holders, members, doneBytesPerSecond } = this.#copies(imageId);
    const { from } = before;
    if (from === undefined) return 0;
    const source = holders.has(from) ? undefined : members.get(from);
    return measured < SLOW * (source?.bytesPerSecond ?? Math.max(doneBytesPerSecond, fastest(members)))
      ? before.slowFor + 1
      : Math.min(before.slowFor, 0);
  }

  #find(imageId: ImageId, hostId: HostId): Seen | undefined {
    return this.#images.get(imageId)?.members.get(hostId);
  }

  #put(imageId: ImageId, seen: Seen): void {
    this.#copies(imageId).members.set(seen.hostId, seen);
  }

  #copies(imageId: ImageId): Copies {
    const known = this.#images.get(imageId);
    if (known) return known;
    const made: Copies = {
      ...{ members: new Map(), holders: new Set(), fed: new Map(), lookedAtMs: -Infinity },
      ...{ doneBytesPerSecond: 0, slowSenders: new Set() },
    };
    this.#images.set(imageId, made);
    return made;
  }
}

function begun(hostId: HostId, { doneBytes, atMs, relays }: Pick<Seen, 'doneBytes' | 'atMs' | 'relays'>): Seen {
  const here = { atMs, bytes: doneBytes };
  return {
    ...{ hostId, from: undefined, doneBytes, relays, atMs, mark: here, fed: here, begun: here },
    ...{ bytesPerSecond: undefined, meanBytesPerSecond: 0, firstBytesPerSecond: undefined },
    ...{ looks: 0, slowFor: 0, patience: 0, passed: false },
  };
}

const fastest = (members: ReadonlyMap<HostId, Member>): number =>
  Math.max(0, ...[...members.values()].map((m) => m.bytesPerSecond ?? 0));

/** Between the two. */
const speed = (from: Seen['mark'], to: Pick<Seen, 'atMs' | 'doneBytes'>): number =>
  to.atMs > from.atMs ? ((to.doneBytes - from.bytes) / (to.atMs - from.atMs)) * 1_000 : 0;
