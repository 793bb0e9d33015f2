/**
 * Job volume.transfer: a volume that stands alone goes to another host, with its image first, or with what is in that. The bytes go
 * from host to host; the old one is removed when the inventory says where it lies now, by a debt where its host does not do so.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import { REASONS } from '@berth/shared/errors/reasons.ts';
import type { CleanupDebt } from '@berth/shared/model/access.ts';
import type { HostId, PoolId, VolumeId } from '@berth/shared/model/ids.ts';
import type { OperationView } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import {
  defineJob,
  wait,
  Wait,
  type JobBuilder,
  type LocalStep,
  type RemoteContext,
  type RemoteStep,
} from './engine/define.ts';
import { insist, known, pollMs, settle, untilSeen } from './operate.ts';
import { releaseRoom, reserveRoom } from './volume-coming.ts';
import { getVolume, runnable } from './volume-create.ts';
import { imageStep, WHOLE_DISK_MS } from './volume-steps.ts';

export interface TransferParams {
  readonly volumeId: VolumeId;
  readonly toHostId: HostId;
  /** Null: `local`. */
  readonly to: PoolId | null;
  /** It rests on no image any more. Absent: no. */
  readonly full?: boolean;
}

interface Placed {
  readonly place: {
    readonly hostId: HostId;
    readonly host: string;
    readonly name: string;
    readonly from: HostId;
    readonly fromHost: string;
  };
}
interface Recorded extends Placed {
  readonly record: { readonly stays: boolean } | null;
}
interface Removed extends Recorded {
  readonly remove: { readonly left: boolean } | null;
}
type Context = RemoteContext<TransferParams, Placed, JobDeps>;

async function copy(c: Context): Promise<{ bytes: number } | Wait> {
  const { hostId, fromHost } = c.outs.place;
  const agent = c.deps.hosts.agent(hostId);
  const volume = getVolume(c.tables, c.params.volumeId);
  const { sizeBytes, imageId } = volume;
  const format = runnable(volume);
  const imageDigest = c.params.full ? undefined : imageId && c.tables.images.get(imageId)?.digest;
  const wanted = { volumeId: c.params.volumeId, imageDigest, sizeBytes, format, poolId: c.params.to ?? '' };
  const op = await known(agent, c.opId, () => agent.volumeData.receive(c.opId, wanted), c.notes);
  const why = `copying it from ${fromHost}`;
  if (op.state === 'running' && op.needsSource) return offered(c, op, why);
  const done = await settle(c, Promise.resolve(op), why);
  return Wait.is(done) ? done : { bytes: done.totalBytes };
}

/** What is in its image is copied into a file that lies beside it, until the job is acknowledged. */
async function flatten(c: Context): Promise<null | Wait> {
  if (!c.params.full) return null;
  const agent = c.deps.hosts.agent(c.outs.place.from);
  const wanted = { volumeId: c.params.volumeId, format: 'qcow2', exportId: exportOf(c) };
  const ask = () => agent.volumeData.export(c.opId, wanted);
  const op = await settle(c, known(agent, c.opId, ask, c.notes), 'copying what is in its image into it');
  return Wait.is(op) ? op : null;
}

const exportOf = ({ params, jobId }: Context): string => (params.full ? `${jobId}.flatten.file` : '');

/** A ticket for one host and one volume, whenever it asks for one. */
async function offered(c: Context, op: OperationView, why: string): Promise<Wait> {
  const { hostId, from } = c.outs.place;
  const asked = { volumeId: c.params.volumeId, peerHostId: hostId, exportId: exportOf(c) };
  const { ticket, address } = await c.deps.hosts.agent(from).volumeData.openExport(asked);
  const source = { operationId: op.id, peerHostId: from, peerAddress: address, ticket };
  try {
    await c.deps.hosts.agent(hostId).offerSource(source);
  } catch (e) {
    // RACE: it has ended since we looked; the next look tells how
    if (!isClusterError(e, 'NOT_FOUND')) throw e;
  }
  return wait(pollMs(c.attempt), why);
}

/** The volume is in use elsewhere by now: what fails here must not hold it up. */
async function removeOld(
  c: RemoteContext<TransferParams, Recorded, JobDeps>,
): Promise<{ readonly left: boolean } | Wait> {
  const { from, fromHost, hostId } = c.outs.place;
  const { volumeId } = c.params;
  if (c.outs.record?.stays) return { left: false };
  try {
    const agent = c.deps.hosts.agent(from);
    const op = await insist(c, c.opId, (id) => agent.removeVolume(id, volumeId), `removing it from ${fromHost}`);
    if (Wait.is(op)) return op;
  } catch (e) {
    const away = isClusterError(e, 'HOST_UNREACHABLE') && !c.deps.hosts.view(from).reachable;
    if (!away && !(isClusterError(e) && REASONS[e.reason].retry === 'never')) throw e;
    return { left: true };
  }
  const seen = c.deps.hosts.status(hostId).volumeIds.has(volumeId);
  return untilSeen(c, seen, 'waiting for its host to tell of it') ?? { left: false };
}

const debtOf = (target: VolumeId, hostId: HostId, name: string, toHost: string): CleanupDebt => ({
  ...{ id: `${hostId}/volume/${target}`, hostId, kind: 'volume', target, vmId: undefined },
  why: `volume ${name} was moved to ${toHost} while the host did not remove it`,
});

const place: LocalStep<TransferParams, object, JobDeps, Placed['place']> = {
  run(c) {
    const { tables, params } = c;
    const { name, hostId: from } = getVolume(tables, params.volumeId);
    const host = tables.hosts.get(params.toHostId)?.name;
    if (from === undefined || host === undefined)
      throw new ClusterError('NOT_FOUND', `host ${params.toHostId} does not exist any more`);
    reserveRoom(c, params.volumeId, params.toHostId, params.to);
    return { hostId: params.toHostId, host, name, from, fromHost: tables.hosts.get(from)?.name ?? from };
  },
  undo: ({ tx, params }) => releaseRoom(tx, params.volumeId),
  describe: (out) => out.host,
};

const image = imageStep<TransferParams>(({ tables, params }) => ({
  poolId: params.to ?? undefined,
  imageId: params.full ? undefined : getVolume(tables, params.volumeId).imageId,
}));

const flattened: RemoteStep<TransferParams, Placed, JobDeps, null> = {
  host: (c) => (c.params.full ? c.outs.place.from : undefined),
  deadlineMs: WHOLE_DISK_MS,
  run: flatten,
  // what was made goes when the job is acknowledged
  undo: async () => undefined,
  debts: () => [],
};

const copied: RemoteStep<TransferParams, Placed, JobDeps, { bytes: number }> = {
  host: (c) => c.outs.place.hostId,
  deadlineMs: WHOLE_DISK_MS,
  run: copy,
  async undo(c) {
    const agent = c.deps.hosts.agent(c.outs.place.hostId);
    const remove = (id: string) => agent.removeVolume(id, c.params.volumeId);
    const op = await insist(c, c.undoOpId, remove, 'removing the copy');
    return Wait.is(op) ? op : undefined;
  },
  debts: (c) => [{ kind: 'volume', target: c.params.volumeId, vmId: undefined, why: 'moving a volume was undone' }],
};

const record: LocalStep<TransferParams, Placed, JobDeps, { stays: boolean }> = {
  run({ tx, tables, params, outs, jobId }) {
    if (!tables.hosts.get(outs.place.hostId) || !tables.volumes.get(params.volumeId)) {
      // one of the hosts was removed by force meanwhile, and what it had was forgotten: nothing else goes
      releaseRoom(tx, params.volumeId);
      return { stays: true };
    }
    const { poolId: _, coming: __, imageId, ...volume } = getVolume(tables, params.volumeId);
    const { name, hostId, host, fromHost } = outs.place;
    const rests = params.full ? undefined : imageId;
    tx.volumes.put({ ...volume, imageId: rests, hostId, ...(params.to !== null && { poolId: params.to }) });
    const message = `volume ${name} was moved from ${fromHost} to ${host}`;
    tx.event({ type: 'volume.moved', severity: 'info', subjectKind: 'volume', subject: name, message, jobId });
    return { stays: false };
  },
  // older versions logged nothing of what they had recorded
  describe: (out: { stays: boolean } | null) =>
    out?.stays ? 'one of its hosts was removed meanwhile: it stays where it is' : '',
};

const remove: RemoteStep<TransferParams, Recorded, JobDeps, { left: boolean }> = {
  host: (c) => c.outs.place.from,
  run: removeOld,
  describe: (out: { left: boolean } | null) =>
    out?.left === true ? 'an old copy is left on a host that did not remove it' : '',
};

const owe: LocalStep<TransferParams, Removed, JobDeps, null> = {
  run({ tx, tables, params, outs }) {
    const { from, host, name } = outs.place;
    // older versions logged nothing of a removal that was done; debts go with their host
    if (outs.remove?.left === true && tables.hosts.get(from)) tx.debts.put(debtOf(params.volumeId, from, name, host));
    return null;
  },
};

const begun = (version: number) =>
  defineJob<TransferParams, JobDeps>('volume.transfer', version).local('place', place).local('image', image);

const goesOver = <Outs extends Placed>(job: JobBuilder<TransferParams, JobDeps, Outs>) =>
  job
    .remote('copy', copied)
    .pointOfNoReturn()
    .local('record', record)
    .remote('remove', remove)
    .local('owe', owe)
    .build();

export const volumeTransfer = goesOver(begun(2).remote('flatten', flattened));

/** As it was begun before a volume could leave its image behind. */
export const volumeTransferV1 = goesOver(begun(1));
