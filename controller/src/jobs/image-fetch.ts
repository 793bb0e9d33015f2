/**
 * Job image.fetch, keyed: one copy of one image on one host, from any host that has it. The target asks for a source when it
 * has none; we choose a holder that is up, get a ticket there and hand it over. A holder that falls silent is followed by the
 * next, and so is one that served something else than the image; when there is none, the job waits and says so. Bytes go
 * from agent to agent.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import type { Image } from '@berth/shared/model/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { OperationView } from '../hosts/agent-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type RemoteContext, type StepContext } from './engine/define.ts';
import { getImage, sharesDigest } from './image-digests.ts';
import { removeCopy } from './image-undo.ts';
import { known, pollMs, settle } from './operate.ts';

export interface FetchParams {
  readonly imageId: ImageId;
  readonly hostId: HostId;
}

export const fetchKey = (p: FetchParams): string => `image.fetch/${p.imageId}/${p.hostId}`;

type Context<Outs = object> = StepContext<FetchParams, Outs, JobDeps>;
type Remote<Outs = object> = RemoteContext<FetchParams, Outs, JobDeps>;

/** Nobody who has the image can be reached: look again this often, give up after so long. */
const NO_SOURCE_MS = 5_000;
/** A host that turns sources down as fast as they come gets another this often: tickets cost those who give them. */
const NEXT_OFFER_MS = 500;
const DEADLINE_MS = 24 * 3_600_000;

function available(tables: Tables, imageId: ImageId): Image & { digest: string } {
  const image = tables.images.get(imageId);
  if (image?.state !== 'available' || image.digest === undefined)
    throw new ClusterError(
      'BAD_STATE',
      `image ${image?.name ?? imageId} is ${image?.state ?? 'gone'}: it cannot be copied`,
    );
  return { ...image, digest: image.digest };
}

const nameOf = (c: Context, hostId: HostId): string => c.tables.hosts.get(hostId)?.name ?? hostId;

interface Fetched {
  readonly fileBytes: number;
  /** Names of the hosts that served it, as far as this run of the controller knows. */
  readonly from?: readonly string[];
}

/** What is remembered of the sources while the process lives. */
interface Sources {
  /** Offered since the operation began, or began anew. */
  offered: Set<HostId>;
  /** Something else came while these were the source. */
  readonly suspects: Set<HostId>;
  /** How often each was asked. */
  readonly asked: Map<HostId, number>;
  /** When the next one may be offered. */
  nextAtMs: number;
}

function sourcesOf(c: Remote): Sources {
  const noted = c.notes.get('sources') as Sources | undefined;
  const sources = noted ?? { offered: new Set(), suspects: new Set(), asked: new Map(), nextAtMs: 0 };
  c.notes.set('sources', sources);
  return sources;
}

async function fetch(c: Remote): Promise<Fetched | Wait> {
  const { digest, virtualSizeBytes, name } = available(c.tables, c.params.imageId);
  const target = c.deps.hosts.agent(c.params.hostId);
  const why = `copying image ${name} to ${nameOf(c, c.params.hostId)}`;
  const sources = sourcesOf(c);
  const ask = () => target.fetchImage(c.opId, { digest, virtualSizeBytes });
  let op = await known(target, c.opId, ask);
  if (op.state === 'failed' && turnAway(c, sources, op)) op = await ask();
  if (op.state === 'running' && op.needsSource) return offer(c, sources, name, digest);
  const done = await settle(c, Promise.resolve(op), why);
  if (Wait.is(done)) return done;
  return { fileBytes: done.image?.fileBytes ?? 0, from: [...sources.offered].map((id) => nameOf(c, id)) };
}

const BAD_SOURCE: ReadonlySet<string> = new Set(['DIGEST_MISMATCH', 'PEER_UNAVAILABLE']);

/** True when another holder may do better: asked again, the host begins anew. */
function turnAway(c: Remote, sources: Sources, op: OperationView): boolean {
  if (!BAD_SOURCE.has(op.error?.reason ?? '')) return false;
  for (const id of sources.offered) sources.suspects.add(id);
  sources.offered = new Set();
  if (holdersOf(c).some((id) => !sources.suspects.has(id))) return true;
  sources.suspects.clear();
  return false;
}

const holdersOf = (c: Context): readonly HostId[] =>
  c.tables.imageCopies
    .byImage(c.params.imageId)
    .map((copy) => copy.hostId)
    .filter((id) => id !== c.params.hostId);

/** Asks one holder after another, first those that were asked least, so that one that fails us is not asked for ever. */
async function offer(c: Remote, sources: Sources, name: string, digest: string): Promise<Wait> {
  const { hostId } = c.params;
  const why = `copying image ${name} to ${nameOf(c, hostId)}`;
  const early = sources.nextAtMs - c.nowMs;
  if (early > 0 && early <= NEXT_OFFER_MS) return wait(early, why);
  sources.nextAtMs = c.nowMs + NEXT_OFFER_MS;
  const holders = holdersOf(c);
  const up = byLoad(
    c,
    holders.filter((id) => !sources.suspects.has(id)),
  );
  const asked = (id: HostId): number => sources.asked.get(id) ?? 0;
  for (const peer of [...up].sort((a, b) => asked(a) - asked(b))) {
    sources.asked.set(peer, asked(peer) + 1);
    if (!(await offered(c, peer, digest))) continue;
    sources.offered.add(peer);
    return wait(pollMs(c.attempt), why);
  }
  const names = holders.map((id) => nameOf(c, id)).join(', ');
  return wait(NO_SOURCE_MS, `no host that has image ${name} can serve it now (${names || 'there is none'})`);
}

/** Reachable holders, those that serve fewest fetches first. */
function byLoad(c: Context, holders: readonly HostId[]): readonly HostId[] {
  const state = (id: HostId): string => c.deps.hosts.status(id).state;
  const busy = (id: HostId): number => c.deps.hosts.status(id).statistics?.cpuUsed ?? 0;
  return holders
    .filter((id) => state(id) === 'up' || state(id) === 'maintenance')
    .sort((a, b) => Math.round(busy(a) * 10) - Math.round(busy(b) * 10) || (a < b ? -1 : 1));
}

async function offered(c: Remote, peer: HostId, digest: string): Promise<boolean> {
  const { ticket, address } = await exported(c, peer, digest);
  if (ticket === undefined) return false;
  const source = { operationId: c.opId, peerHostId: peer, peerAddress: address, ticket };
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
  c: Remote,
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

/** `fetched from h1, 14 MB, hash ok`. */
export function describeFetch({ from = [], fileBytes }: Fetched): string {
  const source = from.length > 0 ? ` from ${from.join(' and ')}` : '';
  return `fetched${source}, ${formatFileBytes(fileBytes)}, hash ok`;
}

export const imageFetch = defineJob<FetchParams, JobDeps>('image.fetch', 1)
  .deadline(DEADLINE_MS)
  .remote('fetch', {
    host: (c) => c.params.hostId,
    run: fetch,
    async undo(c) {
      const digest = c.tables.images.get(c.params.imageId)?.digest;
      return digest === undefined ? undefined : removeCopy(c, c.params.hostId, digest);
    },
    debts(c) {
      const digest = c.tables.images.get(c.params.imageId)?.digest;
      if (digest === undefined || sharesDigest(c.tables, digest, c.params.hostId)) return [];
      const why = `copying image ${getImage(c.tables, c.params.imageId).name} was undone`;
      return [{ kind: 'image', target: digest, vmId: undefined, why }];
    },
    describe: describeFetch,
  })
  .local('record', {
    run({ tx, params, outs }) {
      tx.imageCopies.put({ ...params, fileBytes: outs.fetch.fileBytes });
      return null;
    },
    undo({ tx, params }) {
      tx.imageCopies.delete(`${params.imageId}/${params.hostId}`);
    },
  })
  .build();
