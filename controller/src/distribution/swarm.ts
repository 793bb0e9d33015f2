/**
 * Who should read an image from whom while several hosts are copying it. A host that is still copying can pass on what it
 * has, so those that copy at the same time form a chain in which each sends every byte about once (the optimum for equal
 * links is one image over one link plus one piece per hop: Mundinger, Weber, Weiss 2008). Pure; moves nothing itself.
 */
import type { HostId } from '@berth/shared/model/ids.ts';

/** A host that is copying the image now. */
export interface Member {
  readonly hostId: HostId;
  /** Whom it reads from; undefined while it has nobody. */
  readonly from: HostId | undefined;
  readonly doneBytes: number;
  /** Of late, and from the source it has now; undefined when it is too early to say. */
  readonly bytesPerSecond: number | undefined;
  /**
   * Looks in a row at which it got much less than its source does, or, of a source that has it all, than the fastest here, if that is done by now. Below
   * zero: it was given another source for that, and is to be left alone for a while.
   */
  readonly slowFor: number;
  /** Looks at its speed since it has the source that it has now. */
  readonly looks: number;
  /** In all the time of these looks; 0 before the first. */
  readonly meanBytesPerSecond: number;
  /** How fast it was when it was the first of a chain, and one that read from it went to its source to see who is slow; else undefined. */
  readonly firstBytesPerSecond: number | undefined;
  /** It was the first, and others went past it: it held them back as far as is known, for those are faster, or it is too early to say. */
  readonly passed: boolean;
  /** It can pass on what it has while it copies. */
  readonly relays: boolean;
}

/** What is copied. */
export interface Sizes {
  readonly imageBytes: number;
  /** In which it is copied. */
  readonly pieceBytes: number;
}

export interface Swarm {
  /** Hosts that have the whole image and can be reached, the least busy first. */
  readonly holders: ReadonlySet<HostId>;
  readonly members: ReadonlyMap<HostId, Member>;
  /** mostFed, of a moment ago. */
  readonly fed?: ReadonlyMap<HostId, number>;
  /** How fast the fastest was of those that are done. */
  readonly doneBytesPerSecond?: number;
  /** Hosts that gave others so little that these left them. */
  readonly slowSenders?: ReadonlySet<HostId>;
}

/** Less than this share of what others get at the same time is slow. */
export const SLOW = 0.5;
/**
 * Only who is slow at so many looks in a row is believed to be: hosts whose machines do other things too are slow now and then, each
 * at another time, and every change costs a link that others need.
 */
export const SLOW_LOOKS = 5;
/** Loads that differ by less are the same. */
const STEPS = 5;
/** A host that held others back is taken only before one whose link is used by more than this. */
const PASSED = 0.5;
/** One that stands still may go on at any time. */
const LEAST = 0.2;
/** Changing is worth it for so many times the speed. */
export const WORTH = 1.3;
/** So many pieces lie between a host that is held back and one that is not; in a chain that flows it is one or two. */
const GAP_PIECES = 16;
/** For so many looks the first of a chain is believed to be as fast as the link that feeds it. */
const FIRST_LOOKS = 3;
/** So many times longer for each one that was passed. */
const FIRST_MORE = 3;
/** Changing places costs the link that feeds the chain about a look: not for a first that will have it all sooner than this. */
const FIRST_REST_S = 50;

/**
 * Hosts that `target` may read from, best first: those whose link others use least, then those that have the most. A host
 * that is fed by `target`, by way of however many others, is none of them, nor is one that has nobody to read from.
 */
export function sourcesFor(swarm: Swarm, target: HostId): readonly HostId[] {
  const use = usesOf(swarm, target);
  const own = swarm.members.get(target)?.doneBytes ?? 0;
  const relays = fedBesides(swarm, target).filter((m) => m.relays && m.doneBytes >= own);
  const whole = [...swarm.holders].filter((id) => id !== target);
  const candidates = [
    ...whole.map((hostId) => ({ hostId, doneBytes: Infinity })),
    ...relays.filter((m) => !swarm.holders.has(m.hostId)),
  ];
  // stable: otherwise as they were named
  candidates.sort((a, b) => use(a.hostId) - use(b.hostId) || order(b.doneBytes, a.doneBytes));
  return candidates.map((c) => c.hostId);
}

/** Of each host that others read from, how many bytes the one of them has that has most. */
export function mostFed({ members }: Pick<Swarm, 'members'>): ReadonlyMap<HostId, number> {
  const most = new Map<HostId, number>();
  for (const { from, doneBytes } of members.values())
    if (from !== undefined) most.set(from, Math.max(most.get(from) ?? 0, doneBytes));
  return most;
}

/** False: `betterSource` knows of none. Looks at the host and at its own source only, so it can be asked of each at each look. */
export function mayBeHeldBack(swarm: Swarm, target: HostId, sizes: Sizes): boolean {
  const member = swarm.members.get(target);
  if (member?.from === undefined) return false;
  const gapBytes = GAP_PIECES * sizes.pieceBytes;
  if (member.passed || swarm.members.get(member.from)?.passed === true) return true;
  if (isFirstForLong(swarm, member.from, sizes.imageBytes)) return true;
  const most = (swarm.fed ?? mostFed(swarm)).get(member.from) ?? 0;
  if (most - member.doneBytes >= gapBytes || isStarved(swarm, member, gapBytes)) return true;
  return closeBehind(swarm, member, member.from, gapBytes) !== undefined;
}

/**
 * The source that `target` should change to, though the one it has answers: one that holds it back less, or one that need
 * not be shared.
 */
export function betterSource(swarm: Swarm, target: HostId, { imageBytes, pieceBytes }: Sizes): HostId | undefined {
  const member = swarm.members.get(target);
  if (member?.from === undefined) return undefined;
  const gapBytes = GAP_PIECES * pieceBytes;
  return (
    (member.passed ? asLeaf(swarm, member, member.from) : undefined) ??
    unsharedSource(swarm, member, member.from, gapBytes) ??
    pastSlowSource(swarm, member, member.from, gapBytes) ??
    pastSlowSender(swarm, member.from, gapBytes) ??
    pastPassed(swarm, target, member.from) ??
    pastFirst(swarm, member, member.from, { gapBytes, imageBytes })
  );
}

/**
 * It is passed, so nobody needs what it sends: it leaves its source to the others and goes to the end of a chain, where it waits for what
 * it lacks, if it must. Of the ends it is the one that has most; if there is none, it shares a link with one that is fed less well.
 */
function asLeaf(swarm: Swarm, { hostId }: Member, from: HostId): HostId | undefined {
  if (readersOf(swarm, from).length === 1) return undefined;
  const loads = loadsOf(swarm, hostId);
  const others = fedBesides(swarm, hostId)
    .filter((m) => m.relays && !swarm.holders.has(m.hostId) && m.slowFor < SLOW_LOOKS)
    .sort((a, b) => b.doneBytes - a.doneBytes);
  const end = others.find((m) => !loads.has(m.hostId) && !isLast(swarm, m.hostId));
  if (end || !swarm.holders.has(from)) return end?.hostId;
  const use = usesOf(swarm, hostId);
  const [best] = others.sort((a, b) => use(a.hostId) - use(b.hostId));
  return best && use(best.hostId) < use(from) ? best.hostId : undefined;
}

/** Its source is passed, and it is the last that reads from there: one that has as much feeds nobody, or hardly. */
function pastPassed(swarm: Swarm, target: HostId, from: HostId): HostId | undefined {
  if (!isPassed(swarm, from)) return undefined;
  const use = usesOf(swarm, target);
  const [best] = sourcesFor(swarm, target);
  return best !== undefined && use(best) <= LEAST * STEPS ? best : undefined;
}

/**
 * All of a chain are as fast as its first, and nobody knows whether that is what the link that feeds it carries, or the first's own
 * fault. They change places, and then it shows.
 */
function pastFirst(
  swarm: Swarm,
  { doneBytes }: Member,
  from: HostId,
  { gapBytes, imageBytes }: { readonly gapBytes: number; readonly imageBytes: number },
): HostId | undefined {
  const first = swarm.members.get(from);
  if (first?.from === undefined || !isFirstForLong(swarm, from, imageBytes)) return undefined;
  const members = [...swarm.members.values()];
  if (members.some((m) => isSlowerThan(first, m))) return undefined;
  const passed = members.filter((m) => m.passed || m.firstBytesPerSecond !== undefined).length;
  const isNext = first.looks >= FIRST_LOOKS * FIRST_MORE ** passed && readersOf(swarm, first.from).length === 1;
  return isNext && first.doneBytes - doneBytes < gapBytes ? first.from : undefined;
}

/** It is, or may well be, held up by something else than that first of a chain. */
const isSlowerThan = (first: Member, { slowFor, passed, looks, meanBytesPerSecond }: Member): boolean =>
  slowFor >= SLOW_LOOKS || (!passed && looks > 0 && meanBytesPerSecond < SLOW * first.meanBytesPerSecond);

/** It reads from one that has it all, for a while already, and will for long. */
function isFirstForLong(swarm: Swarm, id: HostId, imageBytes: number): boolean {
  const m = swarm.members.get(id);
  if (m?.from === undefined || m.passed || swarm.holders.has(id) || !swarm.holders.has(m.from)) return false;
  if (m.slowFor > 0) return false; // it is slower than those that are done, so it may be its source: that is for others to find out
  return m.looks >= FIRST_LOOKS && imageBytes - m.doneBytes >= FIRST_REST_S * m.meanBytesPerSecond;
}

/**
 * Its source is much slower than others are here, it is close behind that, and what feeds its source has speed to spare. Whether it
 * is that which is slow to send shows then.
 */
function pastSlowSource(swarm: Swarm, member: Member, from: HostId, gapBytes: number): HostId | undefined {
  const source = closeBehind(swarm, member, from, gapBytes);
  if (source === undefined || source.slowFor < SLOW_LOOKS) return undefined;
  if (readersOf(swarm, source.from).some((m) => m.hostId !== from && isStarved(swarm, m, gapBytes))) return undefined;
  const share = source.bytesPerSecond / bestOf(swarm);
  const spare = 1 - (loadsOf(swarm, member.hostId).get(source.from) ?? 0);
  return share < SLOW && spare >= share * WORTH ? source.from : undefined;
}

type Feeding = Member & { readonly from: HostId; readonly bytesPerSecond: number };

/** The source, when that is copying too: the host is close behind it, and it is far behind what feeds it. */
function closeBehind(swarm: Swarm, { doneBytes }: Member, from: HostId, gapBytes: number): Feeding | undefined {
  const source = swarm.members.get(from);
  if (source?.from === undefined || source.bytesPerSecond === undefined || swarm.holders.has(from)) return undefined;
  if (source.doneBytes - doneBytes >= gapBytes || has(swarm, source.from) - source.doneBytes < gapBytes)
    return undefined;
  return { ...source, from: source.from, bytesPerSecond: source.bytesPerSecond };
}

/** Its source feeds another that is ahead of it, or does not feed it well, or is slow itself, and there is one that feeds nobody. */
function unsharedSource(swarm: Swarm, member: Member, from: HostId, gapBytes: number): HostId | undefined {
  const isHeldBack = isOutrun(swarm, member, from, gapBytes) || isStarved(swarm, member, gapBytes);
  if (!isHeldBack && !isBehindSlow(swarm, member, from, gapBytes)) return undefined;
  const [first] = sourcesFor(swarm, member.hostId).filter((id) => id !== from && !isLast(swarm, id));
  if (first === undefined || loadsOf(swarm, member.hostId).has(first)) return undefined;
  return has(swarm, first) - member.doneBytes >= gapBytes ? first : undefined;
}

/** Its source is slow; or was, was given another for that, and is slow again. */
function isBehindSlow(swarm: Swarm, member: Member, from: HostId, gapBytes: number): boolean {
  const source = closeBehind(swarm, member, from, gapBytes);
  if (source === undefined) return false;
  const isAgain = source.slowFor < 0 && source.looks > 1 && source.bytesPerSecond < SLOW * bestOf(swarm);
  return source.slowFor >= SLOW_LOOKS || isAgain;
}

/** All that its source feeds are slow, so it is the source that is: what feeds that can as well feed this host. */
function pastSlowSender(swarm: Swarm, from: HostId, gapBytes: number): HostId | undefined {
  const source = swarm.members.get(from);
  const readers = readersOf(swarm, from);
  if (source?.from === undefined || readers.length < 2 || swarm.holders.has(from)) return undefined;
  return readers.every((m) => isStarved(swarm, m, gapBytes)) ? source.from : undefined;
}

/** It has been slow for long, though its source has much that it lacks. */
function isStarved(swarm: Swarm, { from, doneBytes, slowFor }: Member, gapBytes: number): boolean {
  return from !== undefined && slowFor >= SLOW_LOOKS && has(swarm, from) - doneBytes >= gapBytes;
}

/** How much of the image a host has. */
const has = (swarm: Swarm, id: HostId): number =>
  swarm.holders.has(id) ? Infinity : (swarm.members.get(id)?.doneBytes ?? 0);

const readersOf = (swarm: Swarm, id: HostId): readonly Member[] =>
  [...swarm.members.values()].filter((m) => m.from === id);

function isOutrun(swarm: Swarm, { doneBytes }: Member, from: HostId, gapBytes: number): boolean {
  for (const m of swarm.members.values()) if (m.from === from && m.doneBytes - doneBytes >= gapBytes) return true;
  return false;
}

/**
 * What share of its link each host that feeds others gives to them, by what links carry here; a link of which nothing is known
 * yet counts as given away. What `target` takes is not counted, for it is `target` that chooses.
 */
function loadsOf(swarm: Swarm, target: HostId): ReadonlyMap<HostId, number> {
  const best = bestOf(swarm);
  const loads = new Map<HostId, number>();
  for (const { hostId, from, bytesPerSecond } of swarm.members.values()) {
    if (from === undefined || hostId === target) continue;
    const share = bytesPerSecond === undefined ? 1 : Math.max(LEAST, bytesPerSecond / best);
    loads.set(from, (loads.get(from) ?? 0) + share);
  }
  return loads;
}

const isPassed = ({ holders, members }: Swarm, id: HostId): boolean =>
  members.get(id)?.passed === true && !holders.has(id);

/** It was passed, or left: others come first. */
const isLast = (swarm: Swarm, id: HostId): boolean => isPassed(swarm, id) || swarm.slowSenders?.has(id) === true;

/** How much the link of a host is used for others, in steps; more for one that was passed, or left. */
function usesOf(swarm: Swarm, target: HostId): (id: HostId) => number {
  const loads = loadsOf(swarm, target);
  return (id) => Math.round(((loads.get(id) ?? 0) + (isLast(swarm, id) ? PASSED : 0)) * STEPS);
}

/** What a link carries: the fastest of them tells, if it is done by now. */
function bestOf(swarm: Swarm): number {
  let best = Math.max(1, swarm.doneBytesPerSecond ?? 0);
  for (const m of swarm.members.values()) best = Math.max(best, m.bytesPerSecond ?? 0);
  return best;
}

/** The members that a holder feeds, by way of whomever but `target`. */
function fedBesides(swarm: Swarm, target: HostId): readonly Member[] {
  const fedBy = new Map<HostId, Member[]>();
  for (const m of swarm.members.values()) {
    if (m.from === undefined || m.hostId === target) continue;
    const others = fedBy.get(m.from);
    if (others) others.push(m);
    else fedBy.set(m.from, [m]);
  }
  const found = [...swarm.holders].flatMap((id) => fedBy.get(id) ?? []);
  // grows while it is walked: who is found leads to those that it feeds
  for (const m of found) if (!swarm.holders.has(m.hostId)) found.push(...(fedBy.get(m.hostId) ?? []));
  return found;
}

/** Infinity is as much as Infinity. */
const order = (a: number, b: number): number => (a === b ? 0 : a - b);
