/** The verbs of `berth image`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { imageAdopt } from './adopt.ts';
import { imageCapture } from './capture.ts';
import { imageDelete } from './delete.ts';
import { imageExport } from './export.ts';
import { imageImport } from './import.ts';
import { imagePush } from './push.ts';
import { imagePrune } from './prune.ts';
import { imageSet } from './set.ts';
import { imageTag, imageUntag } from './tag.ts';
import { imageList, imageShow } from './view.ts';

export const imageCommands: readonly Command[] = [
  imageList,
  imageShow,
  imageImport,
  imageCapture,
  imageExport,
  imagePush,
  imageTag,
  imageUntag,
  imageSet,
  imagePrune,
  imageDelete,
  imageAdopt,
];
