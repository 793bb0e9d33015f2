/** Takes back the making of an image's file on a host: what imports and fetches have in common. */
import { isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId } from '@berth/shared/model/ids.ts';
import type { JobDeps } from './deps.ts';
import { Wait, type RemoteContext } from './engine/define.ts';
import { sharesDigest } from './image-digests.ts';
import { insist } from './operate.ts';

/** Not when another image of the same content has it there. A volume that is based on it by now (of an image with the same content) keeps it there. */
export async function removeCopy(
  c: RemoteContext<unknown, unknown, JobDeps>,
  hostId: HostId,
  digest: string,
  opId = c.undoOpId,
): Promise<void | Wait> {
  if (sharesDigest(c.tables, digest, hostId)) return;
  try {
    const remove = (id: string) => c.deps.hosts.agent(hostId).removeImage(id, digest);
    const op = await insist(c, opId, remove, 'removing the copy');
    if (Wait.is(op)) return op;
  } catch (e) {
    if (!isClusterError(e, 'IN_USE')) throw e;
  }
}
