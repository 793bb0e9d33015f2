/**
 * Job image.capture: images of a VM's disks, made on its host. The host copies the disks as they are at one moment; from then on
 * each is imported as a file that somebody sent would be. The VM is as it was, and locked meanwhile.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId, VmId, VolumeId } from '@berth/shared/model/ids.ts';
import { imageCopyKey } from '@berth/shared/model/image.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { ImageOutcome } from '../hosts/agent-client.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait, type LocalContext, type RemoteContext } from './engine/define.ts';
import { copiesOfDigest, getImage } from './image-digests.ts';
import { removeCopy } from './image-undo.ts';
import { domainRef, getVm } from './making.ts';
import { known, settle } from './operate.ts';

export interface CapturedDisk {
  readonly target: string;
  readonly volumeId: VolumeId;
  readonly imageId: ImageId;
}

export interface CaptureParams {
  readonly vmId: VmId;
  readonly disks: readonly CapturedDisk[];
  /** Takes out of the first what makes its guest one machine among others. */
  readonly generalize?: boolean;
  /** As they were in this one. */
  readonly snapshot?: string;
}

interface Placed {
  readonly reserve: { readonly hostId: HostId; readonly host: string };
}
interface Copied extends Placed {
  readonly copy: { readonly how: string };
}
interface Made extends Copied {
  readonly convert: { readonly images: readonly ImageOutcome[] };
}

type Remote<Outs> = RemoteContext<CaptureParams, Outs, JobDeps>;

/** A disk of tebibytes, on a slow one. */
const DEADLINE_MS = 24 * 3_600_000;

const uploadOf = (jobId: string, d: CapturedDisk): string => `${jobId}.copy.${d.target}`;
const agentOf = (c: Remote<Placed>) => c.deps.hosts.agent(c.outs.reserve.hostId);

const HOW: Readonly<Record<string, string>> = {
  stopped: 'as it was left',
  snapshot: 'as it was in its snapshot',
  frozen: 'while it runs, with its file systems frozen',
  'crash-consistent': 'while it runs, as after a power cut: no agent in its guest could freeze file systems',
};

function reserve({ tables, params }: LocalContext<CaptureParams, object, JobDeps>) {
  const vm = getVm(tables, params.vmId);
  for (const d of params.disks) getImage(tables, d.imageId);
  if (vm.hostId === undefined) throw new ClusterError('BAD_STATE', `vm ${vm.name} is on no host`);
  return { hostId: vm.hostId, host: tables.hosts.get(vm.hostId)?.name ?? vm.hostId };
}

async function copy(c: Remote<Placed>): Promise<{ how: string } | Wait> {
  const agent = agentOf(c);
  const vm = getVm(c.tables, c.params.vmId);
  const disks = c.params.disks.map((d) => ({
    ...{ target: d.target, volumeId: d.volumeId, uploadId: uploadOf(c.jobId, d) },
  }));
  const op = await settle(
    c,
    known(agent, c.opId, () => agent.captureDisks(c.opId, domainRef(vm), disks, c.params.snapshot), c.notes),
    `copying the disks of vm ${vm.name}`,
  );
  return Wait.is(op) ? op : { how: op.image?.detail ?? '' };
}

/** What was done to the first disk, in words; empty: nothing was asked for. */
async function generalize(c: Remote<Copied>): Promise<{ what: string } | Wait> {
  const [first] = c.params.disks;
  if (c.params.generalize !== true || first === undefined) return { what: '' };
  const agent = agentOf(c);
  const ask = known(agent, c.opId, () => agent.generalizeUpload(c.opId, uploadOf(c.jobId, first)), c.notes);
  const op = await settle(c, ask, `generalizing the copy of disk ${first.target}`);
  return Wait.is(op) ? op : { what: op.detail ?? '' };
}

const importOf = (opId: string, d: CapturedDisk): string => `${opId}.${d.target}`;

async function convert(c: Remote<Copied>): Promise<{ images: readonly ImageOutcome[] } | Wait> {
  const agent = agentOf(c);
  const images: ImageOutcome[] = [];
  for (const d of c.params.disks) {
    const id = importOf(c.opId, d);
    const ask = () => agent.importImage(id, { uploadId: uploadOf(c.jobId, d), format: 'qcow2' });
    const op = await settle(c, known(agent, id, ask, c.notes), `making an image of disk ${d.target}`);
    if (Wait.is(op)) return op;
    if (!op.image)
      throw new ClusterError('INTERNAL', `host ${c.outs.reserve.host} made an image but did not describe it`);
    images.push(op.image);
  }
  return { images };
}

/** What was made: known when the step succeeded, else by what the host remembers. */
async function undoConvert(c: Remote<Copied>, out: { images: readonly ImageOutcome[] } | undefined) {
  for (const [i, d] of c.params.disks.entries()) {
    const id = importOf(c.opId, d);
    const digest = out?.images[i]?.digest ?? (await agentOf(c).findOperation(id))?.image?.digest;
    const removed = digest && (await removeCopy(c, c.outs.reserve.hostId, digest, `${c.undoOpId}.${d.target}`));
    if (Wait.is(removed)) return removed;
  }
  return undefined;
}

function publish(c: LocalContext<CaptureParams, Made, JobDeps>): null {
  const vm = c.tables.vms.get(c.params.vmId);
  for (const [i, d] of c.params.disks.entries()) {
    const made = c.outs.convert.images[i];
    if (!made) throw new ClusterError('INTERNAL', `disk ${d.target} became no image`);
    const { digest, sourceDigest, virtualSizeBytes, fileBytes } = made;
    const image = getImage(c.tables, d.imageId);
    const there = copiesOfDigest(c.tables, digest);
    c.tx.images.put({ ...image, state: 'available', digest, sourceDigest, virtualSizeBytes });
    for (const one of there) c.tx.imageCopies.put({ ...one, imageId: image.id });
    c.tx.imageCopies.put({ imageId: image.id, hostId: c.outs.reserve.hostId, fileBytes });
    const how = HOW[c.outs.copy.how] ?? '';
    const general = i === 0 && c.params.generalize === true ? ', generalized' : '';
    const message =
      `image ${image.name} captured of disk ${d.target} of vm ${vm?.name ?? ''} ${how}`.trimEnd() + general;
    const about = { severity: 'info', subjectKind: 'image', subject: image.name, jobId: c.jobId } as const;
    c.tx.event({ type: 'image.captured', ...about, message });
  }
  return null;
}

export const imageCapture = defineJob<CaptureParams, JobDeps>('image.capture', 1)
  .deadline(DEADLINE_MS)
  .local('reserve', {
    run: reserve,
    undo({ tx, params }) {
      for (const d of params.disks) tx.images.delete(d.imageId);
    },
    describe: (out) => out.host,
  })
  .remote('copy', {
    host: (c) => c.outs.reserve.hostId,
    run: copy,
    // what the host has copied goes when the job is acknowledged
    undo: async () => undefined,
    debts: () => [],
    describe: (out) => HOW[out.how] ?? '',
  })
  .remote('generalize', {
    host: (c) => c.outs.reserve.hostId,
    run: generalize,
    undo: async () => undefined,
    debts: () => [],
    describe: (out) => out.what,
  })
  .remote('convert', {
    host: (c) => c.outs.reserve.hostId,
    operations: (c) => c.params.disks.map((d) => importOf(c.opId, d)),
    run: convert,
    undo: undoConvert,
    debts: (_, out) =>
      (out?.images ?? []).map(({ digest }) => ({
        ...{ kind: 'image', target: digest, vmId: undefined, why: 'a capture was undone' },
      })),
    describe: (out) => out.images.map((i) => formatFileBytes(i.fileBytes)).join(', '),
  })
  .local('publish', {
    run: publish,
    undo({ tx, tables, params }) {
      for (const { imageId } of params.disks) {
        for (const one of tables.imageCopies.byImage(imageId)) tx.imageCopies.delete(imageCopyKey(one));
        tx.images.put({ ...getImage(tables, imageId), state: 'importing', digest: undefined, sourceDigest: undefined });
      }
    },
  })
  .build();
