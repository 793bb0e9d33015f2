/**
 * Whom a copy of an image is read from: hosts that have it, or are just copying it and pass on what they have, chosen by
 * distribution/swarm.ts. One that falls silent is followed by the next, and so is one that served something else than the
 * image; one that holds a copy back is left for a better one. Part of the job image.fetch, whose steps are image-fetch.ts's.
 */
import { CHUNK_BYTES } from '@berth/shared/disk/digest.ts';
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { betterSource, mayBeHeldBack, sourcesFor, type Swarm } from '../distribution/swarm.ts';
import type { Look } from '../distribution/swarms.ts';
import type { OperationView } from '../hosts/agent-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { wait, type RemoteContext, type StepContext, type Wait } from './engine/define.ts';
import { pollMs } from './operate.ts';

export interface FetchParams {
  readonly imageId: ImageId;
  readonly hostId: HostId;
}

type Context<Outs = object> = StepContext<FetchParams, Outs, JobDeps>;
export type FetchContext<Outs = object> = RemoteContext<FetchParams, Outs, JobDeps>;

/** Nobody who has the image can be reached: look again this often, give up after so long. */
const NO_SOURCE_MS = 5_000;
/** Who gave something else than the image may have been put right: asked again after so long, and longer each time. */
const WRONG_MS = 3_000;
const WRONG_MOST_MS = 30_000;
/** A host that turns sources down as fast as they come gets another this often: tickets cost those who give them. */
const NEXT_OFFER_MS = 500;
/** Weighing all sources against each other looks at every host that copies, so each of a thousand does it every ten seconds at most. */
const WEIGH_MS_EACH = 10;
/** A job looks at its host about this often. */
const WEIGH_LEAST_MS = 2_000;

export const nameOf = (c: Context, hostId: HostId): string => c.tables.hosts.get(hostId)?.name ?? hostId;

/** What is remembered of the sources while the process lives. */
export interface Sources {
  /** Offered since the operation began, or began anew. */
  offered: Set<HostId>;
  /** Something else came while these were the source, and what. */
  readonly suspects: Map<HostId, string>;
  /** How often in a row there was nobody else, and until when it stays at that. */
  wrong: { readonly times: number; readonly untilMs: number };
  /** How often each was asked. */
  readonly asked: Map<HostId, number>;
  /** When the next one may be offered. */
  nextAtMs: number;
  /** When it was last thought about whether there is a better one. */
  weighedAtMs: number;
  /** The last that was offered, and how far the copy was then. */
  last?: { readonly hostId: HostId; readonly doneBytes: number };
}

export function sourcesOf(c: FetchContext): Sources {
  const noted = c.notes.get('sources') as Sources | undefined;
  const sources = noted ?? {
    offered: new Set(),
    suspects: new Map(),
    wrong: { times: 0, untilMs: -Infinity },
    asked: new Map(),
    nextAtMs: 0,
    weighedAtMs: -Infinity,
  };
  c.notes.set('sources', sources);
  return sources;
}

const BAD_SOURCE: ReadonlySet<string> = new Set(['DIGEST_MISMATCH', 'PEER_UNAVAILABLE']);

/** True when another holder may do better: asked again, the host begins anew. */
export function turnAway(c: FetchContext, sources: Sources, op: OperationView): boolean {
  if (!BAD_SOURCE.has(op.error?.reason ?? '')) return false;
  for (const id of sources.offered) sources.suspects.set(id, op.error?.message ?? '');
  sources.offered = new Set();
  if (holdersOf(c).some((id) => !sources.suspects.has(id))) return true;
  sources.suspects.clear();
  return false;
}

/** Hosts that have it, but for the one that gets it. */
export const holdersFor = (tables: Tables, { imageId, hostId }: FetchParams): readonly HostId[] =>
  tables.imageCopies
    .byImage(imageId)
    .map((copy) => copy.hostId)
    .filter((id) => id !== hostId);

const holdersOf = (c: Context): readonly HostId[] => holdersFor(c.tables, c.params);

/** What it gave was not the image, which its host has found out: it is asked again only when nobody else is left, and not at once. */
function suspect(
  c: FetchContext,
  sources: Sources,
  turnedAway: { readonly hostId: string; readonly why: string },
): void {
  const found = [...sources.offered].find((id) => id === turnedAway.hostId);
  if (found === undefined) return;
  sources.offered.delete(found);
  sources.suspects.set(found, turnedAway.why);
  if (!holdersOf(c).every((id) => sources.suspects.has(id))) return;
  const times = sources.wrong.times + 1;
  sources.wrong = { times, untilMs: c.nowMs + Math.min(WRONG_MOST_MS, WRONG_MS * times) };
}

/** When it is time to ask those again, they are none. */
function pardon(c: FetchContext, sources: Sources): void {
  if (c.nowMs >= sources.wrong.untilMs && holdersOf(c).every((id) => sources.suspects.has(id)))
    sources.suspects.clear();
}

interface Wanted {
  readonly name: string;
  readonly digest: string;
  readonly virtualSizeBytes: number;
}

/** Tells the others how far this copy is; gives it a source when it has none, or when there is a better one. */
export async function feed(
  c: FetchContext,
  sources: Sources,
  op: OperationView,
  wanted: Wanted,
): Promise<Wait | undefined> {
  const { imageId, hostId } = c.params;
  const { swarms } = c.deps;
  swarms.progress(imageId, hostId, op.doneBytes, c.nowMs, () => relays(c, hostId));
  if (op.sourceHostId !== undefined) swarms.reads(imageId, hostId, op.sourceHostId as HostId);
  const { turnedAway } = op;
  // what was said of it before it was asked again is old
  if (turnedAway && (op.needsSource || sources.last?.hostId !== turnedAway.hostId)) suspect(c, sources, turnedAway);
  if (op.needsSource) {
    pardon(c, sources);
    // one that has given us something is asked again, as if for the first time
    const { last } = sources;
    const good = last && op.doneBytes > last.doneBytes ? last.hostId : undefined;
    if (good !== undefined) {
      sources.asked.delete(good);
      sources.wrong = { ...sources.wrong, times: 0 };
    }
    swarms.feed(imageId, hostId, undefined, c.nowMs);
    return offer(c, sources, op, wanted, good);
  }
  const better = betterNow(c, sources, wanted);
  if (better !== undefined) await tryOne(c, sources, { peer: better, replace: true }, op, wanted);
  return undefined;
}

function betterNow(c: FetchContext, sources: Sources, { virtualSizeBytes }: Wanted): HostId | undefined {
  const sizes = { imageBytes: virtualSizeBytes, pieceBytes: CHUNK_BYTES };
  const { imageId, hostId } = c.params;
  const swarm = c.deps.swarms.swarm(imageId, c.nowMs, lookOf(c));
  if (swarm.members.get(hostId)?.relays !== true || !mayBeHeldBack(swarm, hostId, sizes)) return undefined;
  if (c.nowMs - sources.weighedAtMs < Math.max(WEIGH_LEAST_MS, WEIGH_MS_EACH * swarm.members.size)) return undefined;
  sources.weighedAtMs = c.nowMs;
  return betterSource(without(swarm, sources.suspects), hostId, sizes);
}

const lookOf = (c: FetchContext): Look => ({
  holders: () => byLoad(c, holdersOf(c)),
  relays: (id) => relays(c, id),
});

/** It can pass on what it is copying, and answers. */
function relays(c: Context, id: HostId): boolean {
  const { state, facts } = c.deps.hosts.status(id);
  return isUp(state) && facts?.capabilities.includes('image.relay') === true;
}

const isUp = (state: string): boolean => state === 'up' || state === 'maintenance';

/** The same for those who suspect some: as if these could serve nobody. */
function without(swarm: Swarm, suspects: Pick<ReadonlyMap<HostId, string>, 'has' | 'size'>): Swarm {
  if (suspects.size === 0) return swarm;
  const members = [...swarm.members].map(([id, m]) => [id, suspects.has(id) ? { ...m, relays: false } : m] as const);
  return { holders: new Set([...swarm.holders].filter((id) => !suspects.has(id))), members: new Map(members) };
}

/** Offers it; until it is known not to be able to, others see that it is taken. */
async function tryOne(
  c: FetchContext,
  sources: Sources,
  { peer, replace }: { readonly peer: HostId; readonly replace: boolean },
  op: OperationView,
  { digest }: Wanted,
): Promise<boolean> {
  const { imageId, hostId } = c.params;
  c.deps.swarms.feed(imageId, hostId, peer, c.nowMs);
  sources.last = { hostId: peer, doneBytes: op.doneBytes };
  if (await offered(c, peer, digest, replace)) {
    sources.offered.add(peer);
    return true;
  }
  c.deps.swarms.feed(imageId, hostId, undefined, c.nowMs);
  return false;
}

/** Asks one source after another, first those that were asked least, so that one that fails us is not asked for ever. */
async function offer(
  c: FetchContext,
  sources: Sources,
  op: OperationView,
  wanted: Wanted,
  good: HostId | undefined,
): Promise<Wait> {
  const { name } = wanted;
  const { hostId } = c.params;
  const why = `copying image ${name} to ${nameOf(c, hostId)}`;
  const early = sources.nextAtMs - c.nowMs;
  if (early > 0 && early <= NEXT_OFFER_MS) return wait(early, why);
  sources.nextAtMs = c.nowMs + NEXT_OFFER_MS;
  const asked = (id: HostId): number => sources.asked.get(id) ?? 0;
  const order = (id: HostId): number => (id === good ? -1 : asked(id));
  const swarm = without(c.deps.swarms.swarm(c.params.imageId, c.nowMs, lookOf(c)), sources.suspects);
  for (const peer of [...sourcesFor(swarm, hostId)].sort((x, y) => order(x) - order(y))) {
    sources.asked.set(peer, asked(peer) + 1);
    if (await tryOne(c, sources, { peer, replace: false }, op, wanted)) return wait(pollMs(c.attempt), why);
  }
  return wait(NO_SOURCE_MS, `no host that has image ${name} can serve it now (${whyNone(c, sources)})`);
}

/** `h1 gives something else than the image (chunk 47 …), h2` */
function whyNone(c: FetchContext, { suspects }: Sources): string {
  const of = (id: HostId): string => [nameOf(c, id), suspects.get(id) ?? ''].join(' ').trim();
  return holdersOf(c).map(of).join(', ') || 'there is none';
}

/** Reachable holders, the least busy first, and of those that are the same the one that got it last: the first has sent most. */
function byLoad(c: Context, holders: readonly HostId[]): readonly HostId[] {
  return holders
    .map((id) => ({ id, status: c.deps.hosts.status(id) }))
    .filter(({ status }) => isUp(status.state))
    .reverse()
    .map(({ id, status }) => ({ id, busy: Math.round((status.statistics?.cpuUsed ?? 0) * 10) }))
    .sort((a, b) => a.busy - b.busy)
    .map(({ id }) => id);
}

async function offered(c: FetchContext, peer: HostId, digest: string, replace: boolean): Promise<boolean> {
  const { ticket, address } = await exported(c, peer, digest);
  if (ticket === undefined) return false;
  const source = { operationId: c.opId, peerHostId: peer, peerAddress: address, ticket, ...(replace && { replace }) };
  try {
    await c.deps.hosts.agent(c.params.hostId).offerSource(source);
  } catch (e) {
    // RACE: it got what it needed from an earlier offer, or ended, since we looked; the next look tells which.
    if (!isClusterError(e, 'NOT_FOUND')) throw e;
  }
  return true;
}

/** A holder that cannot serve is no failure of the fetch: the next one is asked. */
async function exported(
  c: FetchContext,
  peer: HostId,
  digest: string,
): Promise<{ ticket: string | undefined; address: string }> {
  try {
    return await c.deps.hosts.agent(peer).openExport({ digest, peerHostId: c.params.hostId });
  } catch (e) {
    if (isClusterError(e)) return { ticket: undefined, address: '' };
    throw e;
  }
}
