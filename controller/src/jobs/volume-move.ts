/**
 * Job volume.move: a volume, or a disk of a VM, to another pool of its host; of one that runs, while its guest writes. The host keeps
 * its former file until the inventory says where it lies now. Undone, it goes back the same way: what was written since goes along.
 */
import type { HostId, PoolId } from '@berth/shared/model/ids.ts';
import { LOCAL_POOL } from '@berth/shared/model/pool.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalContext, type StepContext } from './engine/define.ts';
import { imagesStep } from './images-needed.ts';
import { insist, known, settle } from './operate.ts';
import { neededBy } from './pool-image.ts';
import { claimFor } from './vm-update.ts';
import { changeVolume, imageOf, whereIs, type WhichVolume } from './volume-where.ts';

export interface MoveParams extends WhichVolume {
  /** Null: `local`. */
  readonly to: PoolId | null;
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

/** Reads and writes all of a disk, maybe after others. */
const WHOLE_DISK_MS = 24 * 3_600_000;

const needed = (c: Parameters<typeof neededBy>[0] & { readonly params: MoveParams }) =>
  neededBy(c, { poolId: c.params.to ?? undefined, imageId: imageOf(c.tables, c.params) });

const poolName = ({ tables }: Pick<Context, 'tables'>, id: PoolId | null): string =>
  id === null ? LOCAL_POOL : (tables.pools.get(id)?.name ?? id);

/** What its VM may grow to, in the pools where its disks lie by now. */
function claimAnew({ tx, tables, params }: LocalContext<MoveParams>): void {
  const vm = params.vmId && tables.vms.get(params.vmId);
  const claim = params.vmId && tables.claims.get(params.vmId);
  if (vm && claim) tx.claims.put(claimFor(vm, claim.hostId, claim.powered));
}

/** In both pools, as long as it moves. */
function claimBoth({ tx, tables, params }: LocalContext<MoveParams>, sizeBytes: number): void {
  const claim = params.vmId && tables.claims.get(params.vmId);
  if (!claim) return;
  const { to } = params;
  if (to === null) tx.claims.put({ ...claim, diskBytes: claim.diskBytes + sizeBytes });
  else tx.claims.put({ ...claim, poolBytes: { ...claim.poolBytes, [to]: (claim.poolBytes?.[to] ?? 0) + sizeBytes } });
}

export const volumeMove = defineJob<MoveParams, JobDeps>('volume.move', 1)
  .local('place', {
    run(c) {
      const { hostId, host, name, poolId: from, sizeBytes } = whereIs(c.tables, c.params);
      claimBoth(c, sizeBytes);
      return { hostId, host, name, from };
    },
    undo: (c) => claimAnew(c),
    describe: (out) => out.host,
  })
  .local(
    'image',
    imagesStep<MoveParams>(
      (c) => needed(c).images,
      (c) => needed(c).copies,
    ),
  )
  .remote('move', {
    host: (c) => c.outs.place.hostId,
    deadlineMs: WHOLE_DISK_MS,
    async run(c) {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const { volumeId, to } = c.params;
      const ask = () => agent.volumeData.move(c.opId, { volumeId, to: to ?? '' });
      const op = await settle(c, known(agent, c.opId, ask), 'copying it');
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
      changeVolume(tx, tables, params, { poolId: params.to });
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
