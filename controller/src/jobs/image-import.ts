/**
 * Job image.import: chooses a host, waits until the operator's file has arrived there (relayed by the API, stored only on the
 * host), has it checked and converted, and shows the image. Moves no bytes itself.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { ImageOutcome } from '../hosts/agent-client.ts';
import type { Tables } from '../state/state.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type LocalContext, type RemoteContext } from './engine/define.ts';
import { copiesOfDigest, getImage } from './image-digests.ts';
import { removeCopy } from './image-undo.ts';
import { chooseReceiver } from './image-place.ts';
import { known, settle } from './operate.ts';

export interface ImportParams {
  readonly imageId: ImageId;
  readonly hostId: HostId | null;
  readonly fileBytes: number;
  /** Absent: all of it. */
  readonly allocatedBytes?: number;
  readonly format: string;
  /** SHA-256 (hex) of the upload ticket. */
  readonly ticketHash: string;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string; readonly atMs: number };
}

type Remote<Outs = Placed> = RemoteContext<ImportParams, Outs, JobDeps>;

/** No byte for so long means that nobody sends any more. */
const SILENCE_MS = 60_000;
const LOOK_AGAIN_MS = 2_000;
const DEADLINE_MS = 24 * 3_600_000;

/** The id under which the host stages the file; cancelling it as an operation drops the file. */
export const uploadIdOf = (jobId: string): string => `${jobId}.receive`;

const brokeOff = (c: { tables: Tables; params: ImportParams }, why: string): ClusterError => {
  const { name } = getImage(c.tables, c.params.imageId);
  return new ClusterError('CANCELLED', `the upload of image ${name} broke off (${why}). Import it again.`);
};

/**
 * Whether all has arrived is known to this process only while it lives. After a restart no more bytes can come (they were
 * relayed by the former process), so the host tells in the next step whether it has them all.
 */
function received(c: Remote): { doneBytes: number } | Wait {
  const upload = c.deps.uploads.seen(c.params.imageId);
  if (upload?.state === 'received') return { doneBytes: upload.doneBytes };
  if (upload?.state === 'broken') throw brokeOff(c, upload.why);
  const createdAtMs = c.tables.jobs.get(c.jobId)?.createdAtMs ?? c.nowMs;
  if (upload === undefined && createdAtMs < c.deps.uploads.sinceMs) return { doneBytes: 0 };
  c.progress(upload?.doneBytes ?? 0, c.params.fileBytes);
  const silentMs = c.nowMs - Math.max(c.outs.place.atMs, upload?.atMs ?? 0);
  if (silentMs < SILENCE_MS) return wait(LOOK_AGAIN_MS, `the file is sent to ${c.outs.place.host}`);
  if (upload) throw brokeOff(c, 'no bytes came for a minute');
  return { doneBytes: 0 };
}

async function convert(c: Remote): Promise<ImageOutcome | Wait> {
  const agent = c.deps.hosts.agent(c.outs.place.hostId);
  const ask = () => agent.importImage(c.opId, { uploadId: uploadIdOf(c.jobId), format: c.params.format });
  try {
    const op = await settle(c, known(agent, c.opId, ask, c.notes), 'checking and converting');
    if (Wait.is(op)) return op;
    if (!op.image)
      throw new ClusterError('INTERNAL', `host ${c.outs.place.host} converted the image but did not describe it`);
    return op.image;
  } catch (e) {
    if (e instanceof ClusterError && e.reason === 'NOT_FOUND') throw brokeOff(c, 'the host has not received it');
    throw e;
  }
}

/** What the step made: known when it succeeded, else by what the host remembers of the operation. */
async function madeDigest(c: Remote, out: ImageOutcome | undefined): Promise<string | undefined> {
  if (out) return out.digest;
  return (await c.deps.hosts.agent(c.outs.place.hostId).findOperation(c.opId))?.image?.digest;
}

function publish(c: LocalContext<ImportParams, Placed & { convert: ImageOutcome }, JobDeps>): { name: string } {
  const { digest, sourceDigest, virtualSizeBytes, fileBytes, medium } = c.outs.convert;
  const image = getImage(c.tables, c.params.imageId);
  const known = copiesOfDigest(c.tables, digest);
  c.tx.images.put({ ...image, state: 'available', digest, sourceDigest, virtualSizeBytes, ...(medium && { medium }) });
  // the same content under another name: its copies serve this name too
  for (const copy of known) c.tx.imageCopies.put({ ...copy, imageId: image.id });
  c.tx.imageCopies.put({ imageId: image.id, hostId: c.outs.place.hostId, fileBytes });
  const message = `image ${image.name} imported on ${c.outs.place.host} (${formatFileBytes(fileBytes)})`;
  c.tx.event({
    type: 'image.imported',
    severity: 'info',
    subjectKind: 'image',
    subject: image.name,
    message,
    jobId: c.jobId,
  });
  return { name: image.name };
}

export const imageImport = defineJob<ImportParams, JobDeps>('image.import', 1)
  .deadline(DEADLINE_MS)
  .local('reserve', {
    run: ({ tables, params }) => ({ name: getImage(tables, params.imageId).name }),
    undo: ({ tx, params }) => void tx.images.delete(params.imageId),
  })
  .local('place', {
    run({ tables, params, deps, nowMs }) {
      const chosen = chooseReceiver(
        tables,
        deps,
        params.allocatedBytes ?? params.fileBytes,
        params.hostId ?? undefined,
      );
      return { hostId: chosen.id, host: chosen.name, atMs: nowMs };
    },
    describe: (out) => out.host,
  })
  .remote('receive', {
    host: (c) => c.outs.place.hostId,
    run: async (c) => received(c),
    // cancelling the operation, which comes before any undo, drops what the host has staged
    undo: async () => undefined,
    debts: () => [],
    describe: (out) => (out.doneBytes > 0 ? formatFileBytes(out.doneBytes) : ''),
  })
  .remote('convert', {
    host: (c) => c.outs.place.hostId,
    run: convert,
    async undo(c, out) {
      const digest = await madeDigest(c, out);
      return digest === undefined ? undefined : removeCopy(c, c.outs.place.hostId, digest);
    },
    debts: (_, out) =>
      out ? [{ kind: 'image', target: out.digest, vmId: undefined, why: 'an import was undone' }] : [],
    describe: (out) => out.digest,
  })
  .local('publish', {
    run: publish,
    undo({ tx, tables, params }) {
      for (const copy of tables.imageCopies.byImage(params.imageId)) tx.imageCopies.delete(imageCopyKey(copy));
      tx.images.put({
        ...getImage(tables, params.imageId),
        state: 'importing',
        digest: undefined,
        sourceDigest: undefined,
      });
    },
  })
  .build();
