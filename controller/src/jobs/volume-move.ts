/**
 * Job volume.move: a volume, or a disk of a VM, to another pool of its host; of one that runs, while its guest writes. The host keeps
 * its former file until the inventory says where it lies now. Undone, it goes back the same way: what was written since goes along.
 */
import type { HostId, PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalContext, type StepContext } from './engine/define.ts';
import { insist, known, settle } from './operate.ts';
import { releaseRoom, reserveRoom } from './volume-coming.ts';
import { claimFor } from './vm-update.ts';
import { imageStep, WHOLE_DISK_MS } from './volume-steps.ts';
import { changeVolume, imageOf, whereIs, type WhichVolume } from './volume-where.ts';

export interface MoveParams extends WhichVolume {
  /** Null: `local`. */
  readonly to: PoolId | null;
  /** It is raw there, and rests on no image any more. Absent: no. */
  readonly raw?: boolean;
  /** What is in its image goes along, and it rests on none there. Absent: no. */
  readonly full?: boolean;
}

interface Placed {
  readonly place: {
    readonly hostId: HostId;
    readonly host: string;
    readonly name: string;
    readonly from: PoolId | null;
  };
}
type Context = StepContext<MoveParams, Placed, JobDeps>;

const KIND = 'volume.move';

const poolName = ({ tables }: Pick<Context, 'tables'>, id: PoolId | null): string =>
  id === null ? LOCAL_POOL : (tables.pools.get(id)?.name ?? id);

/** What its VM may grow to, in the pools where its disks lie by now, and where others of them are just going. */
function claimAnew({ tx, tables, params, jobId }: LocalContext<MoveParams>): void {
  const vm = params.vmId && tables.vms.get(params.vmId);
  const claim = params.vmId && tables.claims.get(params.vmId);
  if (!vm || !claim) return;
  tx.claims.put(claimFor(vm, claim.hostId, claim.powered));
  for (const other of tables.jobs.holders(`vm/${vm.id}`)) {
    const { volumeId, to } = other.params as unknown as MoveParams;
    const disk = vm.spec.disks.find((d) => d.volumeId === volumeId);
    if (other.kind !== KIND || other.id === jobId || !disk || (disk.poolId ?? null) === to) continue;
    claimBoth({ tx, tables, params: { vmId: vm.id, to } }, disk.sizeBytes);
  }
}

/** In both pools, as long as it moves. */
function claimBoth(
  { tx, tables, params }: Pick<LocalContext, 'tx' | 'tables'> & { readonly params: Pick<MoveParams, 'vmId' | 'to'> },
  sizeBytes: number,
): void {
  const claim = params.vmId && tables.claims.get(params.vmId);
  if (!claim) return;
  const { to } = params;
  if (to === null) tx.claims.put({ ...claim, diskBytes: claim.diskBytes + sizeBytes });
  else tx.claims.put({ ...claim, poolBytes: { ...claim.poolBytes, [to]: (claim.poolBytes?.[to] ?? 0) + sizeBytes } });
}

export const volumeMove = defineJob<MoveParams, JobDeps>(KIND, 1)
  .local('place', {
    run(c) {
      const { hostId, host, name, poolId: from, sizeBytes } = whereIs(c.tables, c.params);
      if (c.params.vmId === undefined) reserveRoom(c, c.params.volumeId, hostId, c.params.to);
      else claimBoth(c, sizeBytes);
      return { hostId, host, name, from };
    },
    undo: (c) => (releaseRoom(c.tx, c.params.volumeId), claimAnew(c)),
    describe: (out) => out.host,
  })
  .local(
    'image',
    imageStep<MoveParams>(({ tables, params }) => ({
      poolId: params.to ?? undefined,
      imageId: params.raw || params.full ? undefined : imageOf(tables, params),
    })),
  )
  .remote('move', {
    host: (c) => c.outs.place.hostId,
    deadlineMs: WHOLE_DISK_MS,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const { volumeId, to, full } = c.params;
      const ask = () => agent.volumeData.move(c.opId, { volumeId, to: to ?? '', ...(full && { full }) });
      const op = await settle(c, known(agent, c.opId, ask, c.notes), 'copying it');
      return Wait.is(op) ? op : { bytes: op.totalBytes };
    },
    async undo(c) {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const { volumeId } = c.params;
      const back = (id: string) => agent.volumeData.move(id, { volumeId, to: c.outs.place.from ?? '' });
      const op = await insist(c, c.undoOpId, back, 'taking it back');
      if (Wait.is(op)) return op;
      const ended = await insist(
        c,
        `${c.undoOpId}.end`,
        (id) => agent.volumeData.finishMove(id, volumeId),
        'tidying up',
      );
      return Wait.is(ended) ? ended : undefined;
    },
    // what is left of it its host looks after when it is moved again
    debts: () => [],
  })
  .pointOfNoReturn()
  .local('record', {
    run(c) {
      const { tx, tables, params, outs, jobId } = c;
      const { to: poolId, raw, full } = params;
      changeVolume(tx, tables, params, { poolId, ...(raw && { format: 'raw' as const }), ...(full && { full }) });
      releaseRoom(tx, params.volumeId);
      claimAnew(c);
      const { name, host, from } = outs.place;
      const message = `volume ${name} on ${host} was moved from pool ${poolName(c, from)} to pool ${poolName(c, params.to)}`;
      tx.event({ type: 'volume.moved', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
      return null;
    },
  })
  .remote('tidy', {
    host: (c) => c.outs.place.hostId,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const op = await insist(
        c,
        c.opId,
        (id) => agent.volumeData.finishMove(id, c.params.volumeId),
        'removing its former file',
      );
      return Wait.is(op) ? op : null;
    },
  })
  .build();
