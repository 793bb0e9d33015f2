/** Job volume.export: the host of a volume makes a file of it, and keeps it until somebody outside has fetched it. As image.export. */
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { formatFileBytes } from '@berth/shared/units/bytes.ts';
import type { JobDeps } from './deps.ts';
import { defineJob, Wait } from './engine/define.ts';
import { dropLocks } from './engine/start.ts';
import { exportIdOf, serve, type MadeFile } from './image-export.ts';
import { known, settle } from './operate.ts';
import { whereIs, type WhichVolume } from './volume-where.ts';

export interface ExportVolumeParams extends WhichVolume {
  readonly format: string;
  /** SHA-256 (hex) of the ticket. */
  readonly ticketHash: string;
}

const DEADLINE_MS = 24 * 3_600_000;

export const volumeExport = defineJob<ExportVolumeParams, JobDeps>('volume.export', 1)
  .deadline(DEADLINE_MS)
  .local('place', {
    run({ tables, params, nowMs }) {
      const { hostId, host, name } = whereIs(tables, params);
      return { hostId, host, name, atMs: nowMs };
    },
    describe: (out) => out.host,
  })
  .remote('make', {
    host: (c) => c.outs.place.hostId,
    async run(c): Promise<MadeFile | Wait> {
      const agent = c.deps.hosts.agent(c.outs.place.hostId);
      const { volumeId, format } = c.params;
      const ask = () => agent.volumeData.export(c.opId, { volumeId, format, exportId: exportIdOf(c.jobId) });
      const op = await settle(c, known(agent, c.opId, ask, c.notes), `making a file of volume ${c.outs.place.name}`);
      if (Wait.is(op)) return op;
      if (!op.image)
        throw new ClusterError('INTERNAL', `host ${c.outs.place.host} made a file but did not describe it`);
      const { fileBytes, sourceDigest: sha256, virtualSizeBytes } = op.image;
      return { fileBytes, sha256, virtualSizeBytes, atMs: c.nowMs };
    },
    // what was made goes when the job is acknowledged
    undo: async () => undefined,
    debts: () => [],
    describe: (out) => formatFileBytes(out.fileBytes),
  })
  .local('serve', {
    run(c) {
      // the file is made: the volume is free, however long it takes to fetch that
      dropLocks(c.tx, c.jobId);
      return serve(c);
    },
  })
  .build();
