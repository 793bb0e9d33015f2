/**
 * Job pool.image, keyed: the copy of an image in a pool that hosts share, written once for all of them by one host that has it. And
 * which copies the disks of a VM need, there and on their host. Nothing of it is removed when a job is undone: the next disk
 * needs it too, and half of one counts as none.
 */
import type { HostId, ImageId, PoolId, VmId } from '@berth/shared/model/ids.ts';
import type { Vm, VmDisk, VmSpec } from '@berth/shared/model/vm.ts';
import type { Hosts } from '../hosts/hosts.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type LocalContext } from './engine/define.ts';
import { joinJob } from './engine/start.ts';
import { getImage } from './image-digests.ts';
import { getVm } from './making.ts';
import { known, settle } from './operate.ts';
import { imagesOf } from './wanted.ts';

export interface PoolCopy {
  readonly poolId: PoolId;
  readonly imageId: ImageId;
}
interface PoolImageParams extends PoolCopy {
  /** Who writes it. */
  readonly hostId: HostId;
}
interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string };
}
type Context = LocalContext<unknown, Placed, JobDeps>;
type VmContext = LocalContext<{ readonly vmId: VmId }, Placed, JobDeps>;

const keyOf = (p: PoolCopy): string => `pool.image/${p.poolId}/${p.imageId}`;

export const poolImage = defineJob<PoolImageParams, JobDeps>('pool.image', 1)
  .remote('copy', {
    host: (c) => c.params.hostId,
    run: async (c) => {
      const { poolId, imageId, hostId } = c.params;
      const { digest = '', name } = getImage(c.tables, imageId);
      const agent = c.deps.hosts.agent(hostId);
      const asked = known(agent, c.opId, () => agent.pools.ensureImage(c.opId, { poolId, digest }), c.notes);
      const op = await settle(c, asked, `image ${name} is copied into the pool`);
      return Wait.is(op) ? op : { bytes: op.totalBytes };
    },
    undo: async () => undefined,
    debts: () => [],
    describe: (_, { params, deps }) => `by ${deps.hosts.status(params.hostId).facts?.hostname ?? 'a host'}`,
  })
  .build();

/** Every host of the pool sees the same. */
export function poolHas(hosts: Pick<Hosts, 'status'>, tables: Tables, { poolId, imageId }: PoolCopy): boolean {
  const digest = tables.images.get(imageId)?.digest ?? '';
  for (const { id } of tables.hosts.values()) {
    const seen = hosts.status(id).pools?.find((p) => p.poolId === poolId);
    if (seen?.imageDigests.includes(digest)) return true;
  }
  return false;
}

/** Shared pools that have a copy of this content, each with a host that is up and has the pool. */
export function poolsWith(
  hosts: Pick<Hosts, 'status'>,
  tables: Tables,
  digest: string,
): readonly { readonly poolId: PoolId; readonly hostId: HostId }[] {
  const all = [...tables.pools.values()].filter((p) => p.shared && p.state === 'ready');
  return all.flatMap(({ id: poolId }) => {
    const host = [...tables.hosts.values()].find((h) => {
      const { complete, pools } = hosts.status(h.id);
      const seen = complete.has('pools') ? pools?.find((p) => p.poolId === poolId) : undefined;
      return seen?.state === 'active' && seen.imageDigests.includes(digest);
    });
    return host === undefined ? [] : [{ poolId, hostId: host.id }];
  });
}

const isShared = (tables: Tables, poolId: PoolId | undefined): poolId is PoolId =>
  poolId !== undefined && tables.pools.get(poolId)?.shared === true;

/** Copies that disks in shared pools lie over. */
export function poolCopiesOf(
  tables: Tables,
  { disks }: { readonly disks: readonly Pick<VmDisk, 'poolId' | 'imageId'>[] },
): readonly PoolCopy[] {
  const all = disks.flatMap(({ poolId, imageId }) =>
    imageId !== undefined && isShared(tables, poolId) ? [{ poolId, imageId }] : [],
  );
  return [...new Map(all.map((p) => [keyOf(p), p])).values()];
}

/** What a disk alone needs before it can lie in a pool: images on its host, and copies in pools that hosts share. */
export function neededBy(
  c: Context,
  disk: Pick<VmDisk, 'poolId' | 'imageId'>,
): { readonly images: readonly ImageId[]; readonly copies: readonly PoolCopy[] } {
  const copies = poolCopiesOf(c.tables, { disks: [disk] });
  const lacking = copies.filter((p) => !poolHas(c.deps.hosts, c.tables, p)).map((p) => p.imageId);
  return { images: isShared(c.tables, disk.poolId) ? lacking : disk.imageId ? [disk.imageId] : [], copies };
}

export const poolCopies = (c: VmContext): readonly PoolCopy[] =>
  poolCopiesOf(c.tables, getVm(c.tables, c.params.vmId).spec);

/** Where all that needs an image lies in shared pools which have it, the host needs none. */
export function imagesOnHost(c: VmContext): readonly ImageId[] {
  const vm = getVm(c.tables, c.params.vmId);
  const { spec } = vm;
  const local = { ...spec, disks: spec.disks.filter((d) => !isShared(c.tables, d.poolId)) };
  const lacking = poolCopiesOf(c.tables, spec).filter((p) => !poolHas(c.deps.hosts, c.tables, p));
  const copies = disksToMake(vm).flatMap((d) => d.copyOf ?? []);
  return [...new Set([...imagesOf(local), ...lacking.map((p) => p.imageId), ...copies])];
}

/** Those that it has been made with need no image any more. */
function disksToMake({ phase, spec, before }: Vm): VmSpec['disks'] {
  if (phase === 'creating') return spec.disks;
  return before ? spec.disks.filter((d) => !before.spec.disks.some((b) => b.volumeId === d.volumeId)) : [];
}

/** Undefined: it is there. */
export function copiedToPool(c: Context, copy: PoolCopy): Wait | undefined {
  const joinedId = (c.memo as { joined?: string } | undefined)?.joined;
  const before = joinedId === undefined ? undefined : c.tables.jobs.get(joinedId);
  const isIt = before?.kind === poolImage.kind && keyOf(before.params as unknown as PoolCopy) === keyOf(copy);
  if (!isIt && poolHas(c.deps.hosts, c.tables, copy)) return undefined;
  const { name } = getImage(c.tables, copy.imageId);
  const params = { ...copy, hostId: c.outs.place.hostId };
  const joined = joinJob({ tx: c.tx, jobId: c.jobId, memo: isIt ? c.memo : undefined }, poolImage, params, {
    subject: name,
    locks: [`image/${copy.imageId}:shared`, `pool/${copy.poolId}:shared`],
    key: keyOf(copy),
    user: c.tables.jobs.get(c.jobId)?.user ?? '',
  });
  const pool = c.tables.pools.get(copy.poolId)?.name ?? copy.poolId;
  return Wait.is(joined) ? wait(joined.ms, `image ${name} is copied into pool ${pool}`, joined.memo) : undefined;
}
