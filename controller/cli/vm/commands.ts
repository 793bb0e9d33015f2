/** The verbs of `berth vm`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { vmAdopt } from './adopt.ts';
import { vmClone } from './clone.ts';
import { vmConsole } from './console.ts';
import { vmCreate } from './create.ts';
import { vmExec } from './exec.ts';
import { vmFreeze, vmGuestInfo, vmSyncTime, vmThaw } from './guest.ts';
import { vmEdit } from './edit.ts';
import { vmCustomize } from './customize.ts';
import { vmDelete } from './delete.ts';
import { vmSpice, vmVnc } from './display.ts';
import { vmGuests } from './guests.ts';
import { vmAttach, vmDetach } from './devices.ts';
import { vmEject, vmInsert } from './media.ts';
import { vmLabel } from '../label/label.ts';
import { vmNmi, vmSendKeys } from './keys.ts';
import { vmList } from './list.ts';
import { vmLog } from './log.ts';
import { vmReboot, vmReset, vmResume, vmSave, vmSuspend } from './power.ts';
import { vmScreenshot } from './screenshot.ts';
import { vmSetPassword } from './set-password.ts';
import { vmSet } from './set.ts';
import { vmShow } from './show.ts';
import { snapshotCreate, snapshotDelete, snapshotRevert } from './snapshot.ts';
import { snapshotList, snapshotShow } from './snapshot-view.ts';
import { vmSsh } from './ssh.ts';
import { vmStart } from './start.ts';
import { vmStats } from './stats.ts';
import { vmStop } from './stop.ts';
import { vmTop } from './top.ts';

export const vmCommands: readonly Command[] = [
  vmList,
  vmShow,
  vmTop,
  vmStats,
  vmClone,
  vmCreate,
  vmSet,
  vmEdit,
  vmCustomize,
  vmInsert,
  vmEject,
  vmAttach,
  vmDetach,
  vmStart,
  vmStop,
  vmReboot,
  vmReset,
  vmSuspend,
  vmResume,
  vmSave,
  vmDelete,
  snapshotCreate,
  snapshotList,
  snapshotShow,
  snapshotRevert,
  snapshotDelete,
  vmLabel,
  vmConsole,
  vmVnc,
  vmSpice,
  vmSsh,
  vmScreenshot,
  vmSendKeys,
  vmNmi,
  vmLog,
  vmGuestInfo,
  vmSyncTime,
  vmFreeze,
  vmThaw,
  vmSetPassword,
  vmExec,
  vmGuests,
  vmAdopt,
];
