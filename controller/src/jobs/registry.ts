/** All kinds of jobs that this controller can drive. A kind that open jobs still have must stay here. */
import type { AnyJobDef } from './engine/define.ts';
import { caRotate } from './ca-rotate.ts';
import { imageCapture } from './image-capture.ts';
import { imageDelete } from './image-delete.ts';
import { imageEvict } from './image-evict.ts';
import { imageExport } from './image-export.ts';
import { imageFetch } from './image-fetch.ts';
import { imageImport } from './image-import.ts';
import { vmBatch } from './vm-batch.ts';
import { networkChange, networkCreate, networkMend, networkRemove } from './networks.ts';
import { poolImage } from './pool-image.ts';
import { poolChange, poolCreate, poolMend, poolRemove } from './pools.ts';
import { vmClone, vmCloneV1 } from './vm-clone.ts';
import { vmCreate, vmCreateV1 } from './vm-create.ts';
import { vmCustomize } from './vm-customize.ts';
import { vmDelete } from './vm-delete.ts';
import { vmReset, vmResume, vmSuspend } from './vm-power.ts';
import { vmReboot } from './vm-reboot.ts';
import { snapshotCreate } from './snapshot-create.ts';
import { snapshotDelete } from './snapshot-delete.ts';
import { snapshotRevert } from './snapshot-revert.ts';
import { vmSave } from './vm-save.ts';
import { vmStart } from './vm-start.ts';
import { vmStop } from './vm-stop.ts';
import { vmUpdate } from './vm-update.ts';
import { volumeAttach, volumeDetach } from './volume-attach.ts';
import { volumeCreate } from './volume-create.ts';
import { volumeDelete } from './volume-delete.ts';
import { volumeExport } from './volume-export.ts';
import { volumeMove } from './volume-move.ts';
import { volumeResize } from './volume-resize.ts';
import { volumeTransfer, volumeTransferV1 } from './volume-transfer.ts';
import { volumeUpload } from './volume-upload.ts';
import { volumeRewrite, volumeWipe } from './volume-rewrite.ts';

export const JOBS: readonly AnyJobDef[] = [
  vmCreate,
  vmCreateV1,
  vmClone,
  vmBatch,
  vmCloneV1,
  vmCustomize,
  vmStart,
  vmStop,
  vmReboot,
  vmReset,
  vmSuspend,
  vmResume,
  vmSave,
  vmDelete,
  vmUpdate,
  snapshotCreate,
  snapshotRevert,
  snapshotDelete,
  imageImport,
  imageCapture,
  imageFetch,
  imageDelete,
  imageEvict,
  networkCreate,
  networkChange,
  networkMend,
  networkRemove,
  poolCreate,
  poolImage,
  poolChange,
  poolMend,
  poolRemove,
  imageExport,
  caRotate,
  volumeAttach,
  volumeDetach,
  volumeCreate,
  volumeDelete,
  volumeResize,
  volumeMove,
  volumeTransfer,
  volumeTransferV1,
  volumeExport,
  volumeRewrite,
  volumeWipe,
  volumeUpload,
];
