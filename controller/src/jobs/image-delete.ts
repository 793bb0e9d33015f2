/** Job image.delete: all copies and the row go. A host that does not answer keeps its copy as a cleanup debt. */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type RemoteContext } from './engine/define.ts';
import { sharesDigest } from './image-digests.ts';
import { insist } from './operate.ts';
import { poolsWith } from './pool-image.ts';

export interface ImageParams {
  readonly imageId: ImageId;
}

interface Begun {
  readonly intent: { readonly digest: string | null; readonly name: string };
}

type Remote = RemoteContext<ImageParams, Begun, JobDeps>;

async function removeCopies(c: Remote): Promise<{ left: readonly HostId[] } | Wait> {
  const { digest } = c.outs.intent;
  const left: HostId[] = [];
  if (digest === null) return { left };
  let running: Wait | undefined;
  for (const { hostId } of c.tables.imageCopies.byImage(c.params.imageId)) {
    if (sharesDigest(c.tables, digest, hostId, c.params.imageId)) continue;
    const one = await removeOne(c, hostId, digest);
    if (Wait.is(one)) running = one;
    else if (one === 'left') left.push(hostId);
  }
  return running ?? (await removeFromPools(c, digest)) ?? { left };
}

/** From pools that hosts share, by one that has them; where none is up, it stays as all does that lies in a pool. */
async function removeFromPools(c: Remote, digest: string): Promise<Wait | undefined> {
  if (c.tables.images.byDigest(digest).some((i) => i.id !== c.params.imageId)) return undefined;
  for (const { poolId, hostId } of poolsWith(c.deps.hosts, c.tables, digest)) {
    const remove = (id: string) => c.deps.hosts.agent(hostId).pools.removeImage(id, { poolId, digest });
    const op = await insist(c, `${c.opId}.${poolId}`, remove, `removing copies of image ${c.outs.intent.name}`);
    if (Wait.is(op)) return op;
  }
  return undefined;
}

async function removeOne(c: Remote, hostId: HostId, digest: string): Promise<'removed' | 'left' | Wait> {
  try {
    const agent = c.deps.hosts.agent(hostId);
    const remove = (id: string) => agent.removeImage(id, digest);
    const op = await insist(c, `${c.opId}.${hostId}`, remove, `removing copies of image ${c.outs.intent.name}`);
    return Wait.is(op) ? op : 'removed';
  } catch (e) {
    if (isClusterError(e, 'HOST_UNREACHABLE') && !c.deps.hosts.view(hostId).reachable) return 'left';
    throw e;
  }
}

export const imageDelete = defineJob<ImageParams, JobDeps>('image.delete', 1)
  .local('intent', {
    run({ tx, tables, params }) {
      const image = tables.images.get(params.imageId);
      if (!image) throw new ClusterError('NOT_FOUND', `image ${params.imageId} does not exist any more`);
      tx.images.put({ ...image, state: 'deleting' });
      return { digest: image.digest ?? null, name: image.name };
    },
    undo({ tx, tables, params }) {
      const image = tables.images.get(params.imageId);
      if (image) tx.images.put({ ...image, state: 'available' });
    },
  })
  .pointOfNoReturn()
  .remote('copies', {
    operations: (c) => [
      ...c.tables.imageCopies.byImage(c.params.imageId).map((copy) => `${c.opId}.${copy.hostId}`),
      ...[...c.tables.pools.values()].flatMap((p) => (p.shared ? [`${c.opId}.${p.id}`] : [])),
    ],
    run: removeCopies,
    describe: (out) => (out.left.length > 0 ? `${out.left.length} left on hosts that do not answer` : ''),
  })
  .local('forget', {
    run({ tx, tables, params, outs, jobId }) {
      const { name, digest } = outs.intent;
      for (const hostId of outs.copies.left.filter((id) => tables.hosts.get(id))) {
        const why = `image ${name} was deleted while the host did not answer`;
        const target = digest ?? '';
        tx.debts.put({ id: `${hostId}/image/${target}`, hostId, kind: 'image', target, vmId: undefined, why });
      }
      for (const copy of tables.imageCopies.byImage(params.imageId)) tx.imageCopies.delete(imageCopyKey(copy));
      tx.images.delete(params.imageId);
      const message = `image ${name} deleted`;
      tx.event({ type: 'image.deleted', severity: 'info', subjectKind: 'image', subject: name, message, jobId });
      return null;
    },
  })
  .build();
