/** The operation that makes a file of a volume, for somebody outside. It lies where uploads lie, and goes with its job as they do. */
import { stat } from 'node:fs/promises';
import { ClusterError, invalidArgument, notFound } from '@berth/shared/errors/cluster-error.ts';
import type { VolumeSeen } from '../drivers/disks.ts';
import type { Hypervisor } from '../drivers/hypervisor.ts';
import { FILE_FORMATS, type AllDisks, type FileFormat } from '../drivers/volume-work.ts';
import { checkId, checkUploadId } from '../ids.ts';
import type { ImageOutcome } from '../operations/ledger.ts';
import type { OperationKind, Work } from '../operations/operation.ts';
import type { Operations } from '../operations/operations.ts';
import type { Uploads } from './uploads.ts';
import { insistUnused } from './using.ts';
import { insistWhole } from './whole.ts';

export interface VolumeExportWanted {
  readonly volumeId: string;
  readonly format: FileFormat;
  readonly exportId: string;
}

export interface VolumeExportDeps {
  readonly hypervisor: Pick<Hypervisor, 'list' | 'getRunningXml'>;
  readonly disks: AllDisks;
  readonly uploads: Pick<Uploads, 'keep'>;
  readonly operations: Operations;
}

const EXPORTS_AT_ONCE = 2;

export function checkVolumeExport(w: { volumeId: string; format: string; exportId: string }): VolumeExportWanted {
  checkId('volume', w.volumeId);
  checkUploadId(w.exportId);
  const format = FILE_FORMATS.find((f) => f === w.format);
  if (format) return { ...w, format };
  throw invalidArgument(`no file is made as ${JSON.stringify(w.format.slice(0, 40))}: ${FILE_FORMATS.join(', ')}`);
}

export class VolumeExports {
  readonly make: OperationKind<VolumeExportWanted>;

  constructor(private readonly deps: VolumeExportDeps) {
    this.make = deps.operations.define<VolumeExportWanted>({
      ...{ name: 'volume.export', long: { atOnce: EXPORTS_AT_ONCE } },
      lockKey: (w) => `volume/${w.volumeId}`,
      run: (w, work) => this.run(w, work),
      abandon: (w) => deps.disks.removeUpload(w.exportId),
    });
  }

  private async run(w: VolumeExportWanted, work: Work): Promise<ImageOutcome> {
    const { disks, uploads, hypervisor } = this.deps;
    work.signal.throwIfAborted();
    const volume = await disks.findVolume(w.volumeId);
    if (volume === undefined || volume.seed) throw notFound(`volume ${w.volumeId} is not on this host`);
    await insistWhole(disks, volume);
    // noted before it is there, so that it goes with the job, however this agent ends
    await uploads.keep(w.exportId);
    await insistUnused({ hypervisor, disks }, volume);
    const before = await this.stamp(volume);
    const file = await disks.work.export(w.exportId, w.volumeId, w.format, work);
    await insistUnused({ hypervisor, disks }, volume);
    if ((await this.stamp(volume)) !== before)
      throw new ClusterError('IN_USE', `volume ${w.volumeId} was written to while the file was made. Try again`);
    const { fileBytes, virtualSizeBytes, sha256: sourceDigest } = file;
    return { digest: '', virtualSizeBytes, fileBytes, sourceDigest };
  }

  /** When it was last written to. A simulated one never is; of what is no file there is no telling. */
  private async stamp(v: VolumeSeen): Promise<string> {
    if (v.source) return '';
    const about = await stat(this.deps.disks.volumePath(v.volumeId, false, v.format)).catch(() => undefined);
    return `${about?.ino} ${about?.mtimeMs} ${about?.size}`;
  }
}
