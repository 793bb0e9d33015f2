/**
 * Job volume.upload: a file that somebody sends becomes a volume of a host, or takes the place of one that stands alone. It waits until
 * the file has come (relayed by the API, in as many streams as it takes; the host alone knows how much is there), and has it checked
 * and converted. What is replaced stays what it was until the inventory says, in one step, that the new one is it. Moves no bytes.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, PoolId, VolumeId } from '@berth/shared/model/ids.ts';
import type { Volume, VolumeFormat } from '@berth/shared/model/volume.ts';
import { formatBytes, formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type LocalContext, type RemoteContext } from './engine/define.ts';
import { insist, known, settle, untilSeen } from './operate.ts';
import { getVolume } from './volume-create.ts';
import { WHOLE_DISK_MS } from './volume-steps.ts';

export interface UploadParams {
  /** Its row: that of the new volume, or of the one whose place it takes. */
  readonly volumeId: VolumeId;
  /** What is made on the host. Of a new volume: the same. */
  readonly contentId: VolumeId;
  readonly hostId: HostId;
  /** Null: `local`. */
  readonly poolId: PoolId | null;
  readonly fileBytes: number;
  readonly allocatedBytes: number;
  /** Of the file; empty: find out. */
  readonly fileFormat: string;
  readonly format: VolumeFormat;
  /** Of the disk in it; 0: as it is. */
  readonly sizeBytes: number;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string; readonly atMs: number };
}
interface Installed extends Placed {
  readonly install: { readonly sizeBytes: number };
}
type Remote = RemoteContext<UploadParams, Placed, JobDeps>;

/** What came is kept for so long when nobody sends. */
const SILENCE_MS = 3_600_000;
const LOOK_AGAIN_MS = 2_000;
const DEADLINE_MS = 3 * 24 * 3_600_000;

/** The id under which the host has the file; cancelling it as an operation drops the file. */
export const volumeUploadId = (jobId: string): string => `${jobId}.receive`;

const isNew = (p: Pick<UploadParams, 'volumeId' | 'contentId'>): boolean => p.volumeId === p.contentId;

async function received(c: Remote): Promise<{ fileBytes: number } | Wait> {
  const { params, deps, nowMs } = c;
  const { host, hostId, atMs } = c.outs.place;
  const seen = deps.uploads.seen(c.jobId);
  if (seen?.state === 'broken') throw new ClusterError(seen.reason ?? 'CANCELLED', seen.why);
  if (seen?.state !== 'active' && (await deps.hosts.agent(hostId).uploaded.find(volumeUploadId(c.jobId))).whole)
    return { fileBytes: params.fileBytes };
  c.progress(seen?.doneBytes ?? 0, params.fileBytes);
  // all of a large file is read again before its host answers
  const isCompared = seen?.state === 'active' && seen.doneBytes >= params.fileBytes;
  if (!isCompared && nowMs - Math.max(atMs, seen?.atMs ?? 0, deps.uploads.sinceMs) > SILENCE_MS)
    throw new ClusterError(
      'CANCELLED',
      'the upload was given up: nobody has sent anything for an hour. Upload it again',
    );
  return wait(LOOK_AGAIN_MS, `the file is sent to ${host}`);
}

async function install(c: Remote): Promise<{ sizeBytes: number } | Wait> {
  const { uploaded, findOperation } = agentOf(c);
  const { contentId, poolId, fileFormat, format, sizeBytes } = c.params;
  const wanted = { volumeId: contentId, poolId: poolId ?? '', fileFormat, format, sizeBytes };
  const ask = () => uploaded.install(c.opId, { ...wanted, uploadId: volumeUploadId(c.jobId) });
  const op = await settle(c, known({ findOperation }, c.opId, ask, c.notes), 'checking and converting');
  if (Wait.is(op)) return op;
  if (!op.image) throw new ClusterError('INTERNAL', `host ${c.outs.place.host} made a volume but did not describe it`);
  return { sizeBytes: op.image.virtualSizeBytes };
}

function agentOf(c: Remote) {
  const agent = c.deps.hosts.agent(c.outs.place.hostId);
  return { uploaded: agent.uploaded, findOperation: (id: string) => agent.findOperation(id) };
}

function record(c: LocalContext<UploadParams, Installed, JobDeps>): null {
  const { tx, tables, params, outs, jobId } = c;
  const { imageId: _, ...row } = getVolume(tables, params.volumeId);
  const { contentId: id, format } = params;
  const { sizeBytes } = outs.install;
  if (!isNew(params)) tx.volumes.delete(params.volumeId);
  const after: Volume = { ...row, id, state: 'ready', sizeBytes, format, imageId: undefined };
  tx.volumes.put(after);
  const how = isNew(params) ? 'uploaded to' : 'overwritten by an upload, on';
  const message = `volume ${row.name} was ${how} ${outs.place.host} (${formatBytes(sizeBytes)})`;
  tx.event({ type: 'volume.uploaded', severity: 'info', subjectKind: 'volume', subject: row.name, message, jobId });
  return null;
}

export const volumeUpload = defineJob<UploadParams, JobDeps>('volume.upload', 1)
  .deadline(DEADLINE_MS)
  .local('reserve', {
    run: ({ tables, params }) => ({ name: getVolume(tables, params.volumeId).name }),
    undo: ({ tx, params }) => void (isNew(params) && tx.volumes.delete(params.volumeId)),
  })
  .local('place', {
    run({ tables, params: { hostId }, nowMs }) {
      const host = tables.hosts.get(hostId);
      if (!host) throw new ClusterError('NOT_FOUND', `host ${hostId} does not exist any more`);
      return { hostId, host: host.name, atMs: nowMs };
    },
    describe: (out) => out.host,
  })
  .remote('receive', {
    host: (c) => c.outs.place.hostId,
    run: received,
    // cancelling the operation, which comes before any undo, drops what the host has
    undo: async () => undefined,
    debts: () => [],
    describe: (out) => formatFileBytes(out.fileBytes),
  })
  .remote('install', {
    host: (c) => c.outs.place.hostId,
    deadlineMs: WHOLE_DISK_MS,
    run: install,
    async undo(c) {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const remove = (id: string) => agent.removeVolume(id, c.params.contentId);
      const op = await insist(c, c.undoOpId, remove, 'removing the volume');
      return Wait.is(op) ? op : undefined;
    },
    debts: (c) => [{ kind: 'volume', target: c.params.contentId, vmId: undefined, why: 'an upload was undone' }],
    describe: (out) => formatBytes(out.sizeBytes),
  })
  .pointOfNoReturn()
  .local('record', { run: record })
  .remote('tidy', {
    host: (c) => c.outs.place.hostId,
    async run(c) {
      const { hostId } = c.outs.place;
      const { volumeId, contentId } = c.params;
      const remove = (id: string) => c.deps.hosts.agent(hostId).removeVolume(id, volumeId);
      if (!isNew(c.params)) {
        const op = await insist(c, c.opId, remove, 'removing what it replaces');
        if (Wait.is(op)) return op;
      }
      const seen = c.deps.hosts.status(hostId).volumeIds.has(contentId);
      return untilSeen(c, seen, 'waiting for its host to tell of it');
    },
  })
  .build();
