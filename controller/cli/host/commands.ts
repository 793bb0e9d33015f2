/** The verbs of `berth host`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { hostAdd, hostReEnroll, hostToken } from './add.ts';
import { hostCheck } from './check.ts';
import { hostDrain, hostRemove, hostResume, hostSet } from './change.ts';
import { hostHardware } from './hardware.ts';
import { hostLabel } from '../label/label.ts';
import { hostList } from './list.ts';
import { hostLog } from './log.ts';
import { hostAccept, hostReview } from './review.ts';
import { hostShow } from './show.ts';
import { hostStats } from './stats.ts';
import { hostTop } from './top.ts';
import { hostTune } from './tune.ts';

export const hostCommands: readonly Command[] = [
  hostList,
  hostShow,
  hostCheck,
  hostHardware,
  hostTop,
  hostStats,
  hostTune,
  hostLog,
  hostAdd,
  hostToken,
  hostReEnroll,
  hostLabel,
  hostSet,
  hostDrain,
  hostResume,
  hostRemove,
  hostReview,
  hostAccept,
];
