/** The work on volumes of a real host, put together: who must not do what at the same time, and which part does it. */
import { badState, notFound } from '@berth/shared/errors/cluster-error.ts';
import { runnable, type VolumeWork } from '../../../volume-work.ts';
import type { Pool } from '../pool.ts';
import { readSidecar, writeSidecar } from '../sidecars.ts';
import { installVolume, readVolume, stagedVolume } from './carry.ts';
import { makeVolume } from './make.ts';
import { exportVolume, type ExportVolumeParts } from './export-volume.ts';
import { resizeVolume } from './resize.ts';
import { rewriteVolume } from './rewrite.ts';
import { openUploaded } from './uploaded.ts';
import { wipeVolume } from './wipe.ts';

export interface Turns {
  onVolume<T>(volumeId: string, fn: () => Promise<T>): Promise<T>;
  onImage<T>(digest: string, fn: () => Promise<T>): Promise<T>;
}

export function createVolumeWork(parts: ExportVolumeParts, { onVolume, onImage }: Turns): VolumeWork {
  const { pool } = parts;
  return {
    make: (spec, work) =>
      onVolume(spec.volumeId, () => {
        const make = () => makeVolume(parts, spec, work);
        return spec.imageDigest === undefined ? make() : onImage(spec.imageDigest, make);
      }),
    assign: (id, owners) => onVolume(id, () => assign(pool, id, owners)),
    resize: (id, bytes, { shrink }, work) => onVolume(id, () => resizeVolume(parts, id, bytes, shrink, work)),
    rewrite: (id, wanted, work, mayReplace) =>
      onVolume(id, () => {
        const rewrite = () => rewriteVolume(parts, id, wanted, work, mayReplace);
        return wanted.imageDigest === undefined ? rewrite() : onImage(wanted.imageDigest, rewrite);
      }),
    // what an agent that was killed left goes when the next one starts
    settle: async () => undefined,
    wipe: (id, work) => onVolume(id, () => wipeVolume(parts, id, work)),
    export: (exportId, id, format, work) =>
      onVolume(id, () => exportVolume(parts, exportId, { volumeId: id, format }, work)),
    read: (id) => onVolume(id, () => readVolume(pool, id)),
    install: (spec, file, work) =>
      onVolume(spec.volumeId, () => {
        const install = () => installVolume(parts, spec, file, work);
        return spec.imageDigest === undefined ? install() : onImage(spec.imageDigest, install);
      }),
    openUploaded: (uploadId, as, work) => onVolume(uploadId, () => openUploaded(parts, uploadId, as, work)),
    staged: (uploadId) => onVolume(uploadId, () => stagedVolume(pool, parts.uploads, uploadId)),
    noteSize: (id, sizeBytes) =>
      onVolume(id, async () => {
        const sidecar = await readSidecar(pool, id);
        if (sidecar && sidecar.sizeBytes !== sizeBytes) await writeSidecar(pool, { ...sidecar, sizeBytes });
      }),
  };
}

async function assign(pool: Pool, volumeId: string, { from, to }: { from: string; to: string }): Promise<void> {
  const sidecar = await readSidecar(pool, volumeId);
  if (sidecar === undefined) throw notFound(`volume ${volumeId} is not on this host`);
  if (sidecar.vmId === to) return;
  if (sidecar.vmId !== from || sidecar.seed)
    throw badState(
      `volume ${volumeId} belongs to ${sidecar.vmId || 'nobody'}, not to ${from || 'nobody'}; it stays so`,
    );
  if (to !== '') runnable(sidecar);
  await writeSidecar(pool, { ...sidecar, vmId: to });
}
