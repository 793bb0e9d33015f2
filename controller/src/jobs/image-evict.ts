/**
 * Job image.evict: hosts give up their copies of a content that nothing there needs. The inventory forgets the copies first, so that
 * nothing is placed on them any more, and from then on lets others use the images; a host that finds its own in use after all keeps
 * it, and is believed.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey, type ImageCopy } from '@berth/shared/model/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Tables, Tx } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type RemoteContext } from './engine/define.ts';
import { shareLocks } from './engine/start.ts';
import { isWantedAgain, neededOn } from './copies-wanted.ts';
import { copiesOfDigest } from './image-digests.ts';
import { insist } from './operate.ts';

export interface EvictParams {
  readonly digest: string;
  readonly hostIds: readonly HostId[];
  /** All of this content. */
  readonly imageIds: readonly ImageId[];
}

type Copy = Pick<ImageCopy, 'imageId' | 'hostId' | 'fileBytes'>;
interface Forgotten {
  readonly forget: { readonly copies: readonly Copy[]; readonly names: string };
}
/** `wanted`: since it was forgotten, it has been brought there again, or is about to be. */
type How = 'removed' | 'in use' | 'wanted' | 'left';
/** Of a host that is there but did not answer. */
const MOST_TRIES = 8;

type Remote = RemoteContext<EvictParams, Forgotten, JobDeps>;

/** Nothing uses the images just now: the job holds them alone. */
function toForget(tables: Tables, { digest, hostIds }: EvictParams): readonly Copy[] {
  const all = copiesOfDigest(tables, digest);
  const needed = tables.images.byDigest(digest).map((i) => neededOn(tables, i.id));
  const going = hostIds.filter((id) => !needed.some((on) => on(id)));
  // never all of them, whatever was planned
  const staying = all.some((c) => !going.includes(c.hostId));
  const gone = new Set(staying ? going : going.slice(1));
  return all
    .filter((c) => gone.has(c.hostId))
    .map(({ imageId, hostId, fileBytes }) => ({ imageId, hostId, fileBytes }));
}

const hostsOf = (copies: readonly Copy[]): readonly HostId[] => [...new Set(copies.map((c) => c.hostId))];

interface Removed {
  readonly hosts: Readonly<Record<string, How>>;
  /** Names of those that have not removed it. */
  readonly stays?: readonly string[];
}

async function remove(c: Remote): Promise<Removed | Wait> {
  const hosts: Record<string, How> = {};
  let running: Wait | undefined;
  for (const hostId of hostsOf(c.outs.forget.copies)) {
    const one = await removeOne(c, hostId);
    if (Wait.is(one)) running = one;
    else hosts[hostId] = one;
  }
  const stays = Object.keys(hosts).filter((id) => hosts[id] !== 'removed');
  return running ?? { hosts, stays: stays.map((id) => c.tables.hosts.get(id)?.name ?? id) };
}

/** Others may use the images meanwhile, so what fails here must not hold them up: it is owed by the host. */
async function removeOne(c: Remote, hostId: HostId): Promise<How | Wait> {
  if (isWantedAgain(c.tables, c.params.digest, hostId)) return 'wanted';
  try {
    const agent = c.deps.hosts.agent(hostId);
    const ask = (id: string) => agent.removeImage(id, c.params.digest);
    const op = await insist(c, `${c.opId}.${hostId}`, ask, `removing copies of image ${c.outs.forget.names}`);
    return Wait.is(op) ? op : 'removed';
  } catch (e) {
    if (isClusterError(e, 'IN_USE')) return 'in use';
    const maybeSoon = isClusterError(e, 'HOST_UNREACHABLE') && c.deps.hosts.view(hostId).reachable;
    if (!isClusterError(e) || (maybeSoon && c.attempt <= MOST_TRIES)) throw e;
    return 'left';
  }
}

function record(tx: Tx, tables: Tables, digest: string, copies: readonly Copy[], how: How, names: string): void {
  const [first] = copies;
  // a host may have been removed since
  if (!first || !tables.hosts.get(first.hostId)) return;
  for (const copy of copies) if (how === 'in use' && tables.images.get(copy.imageId)) tx.imageCopies.put(copy);
  if (how !== 'left') return;
  const why = `the copy of image ${names} was not needed, and the host did not remove it`;
  const { hostId } = first;
  tx.debts.put({ id: `${hostId}/image/${digest}`, hostId, kind: 'image', target: digest, vmId: undefined, why });
}

export const imageEvict = defineJob<EvictParams, JobDeps>('image.evict', 1)
  .local('forget', {
    run({ tx, tables, params, jobId }) {
      const copies = toForget(tables, params);
      if (copies.length === 0)
        throw new ClusterError('IN_USE', 'the copies are needed after all, or are the last ones: they stay');
      for (const copy of copies) tx.imageCopies.delete(imageCopyKey(copy));
      shareLocks(tx, jobId);
      return {
        copies,
        names: tables.images
          .byDigest(params.digest)
          .map((i) => i.name)
          .join(', '),
      };
    },
    undo({ tx }, out) {
      for (const copy of out?.copies ?? []) tx.imageCopies.put(copy);
    },
    describe: (out) => `${hostsOf(out.copies).length} copies`,
  })
  .pointOfNoReturn()
  .remote('remove', {
    operations: (c) => hostsOf(c.outs.forget.copies).map((id) => `${c.opId}.${id}`),
    run: remove,
    // command lines read the names: cli/image/prune.ts
    describe: ({ stays = [] }) => (stays.length > 0 ? `stays on ${stays.join(', ')}` : ''),
  })
  .local('record', {
    run({ tx, tables, params, outs, jobId }) {
      const { copies, names } = outs.forget;
      for (const hostId of hostsOf(copies)) {
        const how = outs.remove.hosts[hostId] ?? 'left';
        const own = copies.filter((c) => c.hostId === hostId);
        record(tx, tables, params.digest, own, how, names);
        if (how !== 'removed') continue;
        const host = tables.hosts.get(hostId)?.name ?? hostId;
        const freed = formatFileBytes(own[0]?.fileBytes ?? 0);
        const message = `host ${host} gave up its copy of image ${names} (${freed}), which nothing there needed`;
        const about = { severity: 'info', subjectKind: 'image', subject: names, jobId } as const;
        tx.event({ type: 'image.evicted', ...about, message });
      }
      return null;
    },
  })
  .build();
