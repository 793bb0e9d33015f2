/**
 * Job image.evict: hosts give up their copies of a content that nothing there needs. The inventory forgets the copies first, so that
 * nothing is placed on them any more; a host that finds its own in use after all keeps it, and is believed.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey, type ImageCopy } from '@berth/shared/model/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { Tables, Tx } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type RemoteContext } from './engine/define.ts';
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
type How = 'removed' | 'in use' | 'left';
type Remote = RemoteContext<EvictParams, Forgotten, JobDeps>;

/** Whether anything on that host needs the content. What has no host yet may come there. */
function isNeeded(tables: Tables, digest: string, hostId: HostId): boolean {
  const there = (o: { readonly hostId: HostId | undefined }): boolean => o.hostId === hostId || o.hostId === undefined;
  return tables.images
    .byDigest(digest)
    .some(({ id }) => tables.vms.byImage(id).some(there) || tables.volumes.byImage(id).some(there));
}

/** Nothing that an image locks can change between this look and the end. */
function toForget(tables: Tables, { digest, hostIds }: EvictParams): readonly Copy[] {
  const all = copiesOfDigest(tables, digest);
  const going = hostIds.filter((id) => !isNeeded(tables, digest, id));
  // never all of them, whatever was planned
  const staying = all.some((c) => !going.includes(c.hostId));
  const gone = new Set(staying ? going : going.slice(1));
  return all
    .filter((c) => gone.has(c.hostId))
    .map(({ imageId, hostId, fileBytes }) => ({ imageId, hostId, fileBytes }));
}

const hostsOf = (copies: readonly Copy[]): readonly HostId[] => [...new Set(copies.map((c) => c.hostId))];

async function remove(c: Remote): Promise<{ hosts: Readonly<Record<string, How>> } | Wait> {
  const hosts: Record<string, How> = {};
  let running: Wait | undefined;
  for (const hostId of hostsOf(c.outs.forget.copies)) {
    const one = await removeOne(c, hostId);
    if (Wait.is(one)) running = one;
    else hosts[hostId] = one;
  }
  return running ?? { hosts };
}

async function removeOne(c: Remote, hostId: HostId): Promise<How | Wait> {
  try {
    const agent = c.deps.hosts.agent(hostId);
    const ask = (id: string) => agent.removeImage(id, c.params.digest);
    const op = await insist(c, `${c.opId}.${hostId}`, ask, `removing copies of image ${c.outs.forget.names}`);
    return Wait.is(op) ? op : 'removed';
  } catch (e) {
    if (isClusterError(e, 'IN_USE')) return 'in use';
    if (isClusterError(e, 'HOST_UNREACHABLE') && !c.deps.hosts.view(hostId).reachable) return 'left';
    throw e;
  }
}

function record(tx: Tx, tables: Tables, digest: string, copies: readonly Copy[], how: How, names: string): void {
  for (const copy of copies) if (how === 'in use' && tables.images.get(copy.imageId)) tx.imageCopies.put(copy);
  const [first] = copies;
  if (how !== 'left' || !first) return;
  const why = `the copy of image ${names} was not needed, and the host did not answer`;
  const { hostId } = first;
  tx.debts.put({ id: `${hostId}/image/${digest}`, hostId, kind: 'image', target: digest, vmId: undefined, why });
}

export const imageEvict = defineJob<EvictParams, JobDeps>('image.evict', 1)
  .local('forget', {
    run({ tx, tables, params }) {
      const copies = toForget(tables, params);
      if (copies.length === 0)
        throw new ClusterError('IN_USE', 'the copies are needed after all, or are the last ones: they stay');
      for (const copy of copies) tx.imageCopies.delete(imageCopyKey(copy));
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
