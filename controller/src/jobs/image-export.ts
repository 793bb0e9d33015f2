/**
 * Job image.export: a host that has an image makes a file of it, and keeps it until somebody outside has fetched it. The bytes go
 * past this job (app/exports.ts relays them); it ends when they were fetched, or when nobody fetches any more.
 */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { HostId, ImageId } from '@berth/shared/model/ids.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, wait, Wait, type LocalContext, type RemoteContext } from './engine/define.ts';
import { getImage } from './image-digests.ts';
import { known, settle } from './operate.ts';

export interface ExportParams {
  readonly imageId: ImageId;
  readonly format: string;
  /** SHA-256 (hex) of the ticket. */
  readonly ticketHash: string;
}

interface Placed {
  readonly place: { readonly hostId: HostId; readonly host: string; readonly atMs: number };
}
export interface MadeFile {
  readonly fileBytes: number;
  readonly sha256: string;
  readonly virtualSizeBytes: number;
  readonly atMs: number;
}
interface Made extends Placed {
  readonly make: MadeFile;
}

const SILENCE_MS = 10 * 60_000;
const LOOK_AGAIN_MS = 5_000;
const DEADLINE_MS = 24 * 3_600_000;
const CAPABILITY = 'image.export';

/** Under what name its host keeps the file. */
export const exportIdOf = (jobId: string): string => `${jobId}.make.file`;

/** The one with most room, of those that have the image and can. */
function place({ tables, params, deps, nowMs }: LocalContext<ExportParams, object, JobDeps>) {
  const image = getImage(tables, params.imageId);
  const holders = tables.imageCopies
    .byImage(params.imageId)
    .map((c) => ({ id: c.hostId, s: deps.hosts.status(c.hostId) }));
  const up = holders.filter(({ s }) => s.state === 'up' || s.state === 'maintenance');
  const able = up.filter(({ s }) => s.facts?.capabilities.includes(CAPABILITY) ?? false);
  const free = ({ s }: (typeof able)[number]): number => s.statistics?.diskFreeBytes ?? s.facts?.diskFreeBytes ?? 0;
  const [best] = able.sort((a, b) => free(b) - free(a) || (a.id < b.id ? -1 : 1));
  const names = holders.map(({ id }) => tables.hosts.get(id)?.name ?? id).join(', ') || 'no host';
  if (!best)
    throw new ClusterError(
      up.length > 0 ? 'UNSUPPORTED' : 'HOST_UNREACHABLE',
      up.length > 0
        ? `image ${image.name} is on ${names}, whose agents cannot export images yet (they lack ${CAPABILITY}): upgrade one`
        : `image ${image.name} is on ${names}, and none of them answers now`,
    );
  return { hostId: best.id, host: tables.hosts.get(best.id)?.name ?? best.id, atMs: nowMs };
}

async function make(c: RemoteContext<ExportParams, Placed, JobDeps>): Promise<MadeFile | Wait> {
  const image = getImage(c.tables, c.params.imageId);
  const agent = c.deps.hosts.agent(c.outs.place.hostId);
  const wanted = { digest: image.digest ?? '', format: c.params.format, exportId: exportIdOf(c.jobId) };
  const ask = () => agent.makeExport(c.opId, wanted);
  const op = await settle(c, known(agent, c.opId, ask, c.notes), `making a file of image ${image.name}`);
  if (Wait.is(op)) return op;
  if (!op.image) throw new ClusterError('INTERNAL', `host ${c.outs.place.host} made a file but did not describe it`);
  const { fileBytes, sourceDigest: sha256, virtualSizeBytes } = op.image;
  return { fileBytes, sha256, virtualSizeBytes, atMs: c.nowMs };
}

/** What has been read is known to this process only while it lives; after a restart, whoever reads asks again. */
export function serve(c: LocalContext<unknown, Made, JobDeps>): null | Wait {
  const seen = c.deps.uploads.seen(c.jobId);
  if (seen?.state === 'received') return null;
  const lastMs = Math.max(c.outs.make.atMs, seen?.atMs ?? 0, c.deps.uploads.sinceMs);
  if (c.nowMs - lastMs > SILENCE_MS) throw new ClusterError('CANCELLED', 'nobody fetched the file for ten minutes');
  return wait(LOOK_AGAIN_MS, `the file is fetched from ${c.outs.place.host}`);
}

export const imageExport = defineJob<ExportParams, JobDeps>('image.export', 1)
  .deadline(DEADLINE_MS)
  .local('place', { run: place, failOn: ['HOST_UNREACHABLE'], describe: (out) => out.host })
  .remote('make', {
    host: (c) => c.outs.place.hostId,
    run: make,
    // what was made goes when the job is acknowledged
    undo: async () => undefined,
    debts: () => [],
    describe: (out) => formatFileBytes(out.fileBytes),
  })
  .local('serve', { run: serve })
  .build();
