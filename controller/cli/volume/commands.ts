/** The verbs of `berth volume`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { volumeLabel } from '../label/label.ts';
import { volumeAdopt } from './adopt.ts';
import { volumeAttach, volumeDetach } from './attach.ts';
import { volumeCreate } from './create.ts';
import { volumeDelete } from './delete.ts';
import { volumeDownload } from './download.ts';
import { volumeMove } from './move.ts';
import { volumeResize } from './resize.ts';
import { volumeConvert, volumeSparsify, volumeWipe } from './rewrite.ts';
import { volumeUpload } from './upload.ts';
import { volumeList, volumeShow } from './view.ts';

export const volumeCommands: readonly Command[] = [
  volumeList,
  volumeShow,
  volumeCreate,
  volumeResize,
  volumeMove,
  volumeUpload,
  volumeDownload,
  volumeConvert,
  volumeSparsify,
  volumeWipe,
  volumeAttach,
  volumeDetach,
  volumeLabel,
  volumeDelete,
  volumeAdopt,
];
