/** The verbs of `berth network`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { networkDelete, networkSet } from './change.ts';
import { networkCreate } from './create.ts';
import { networkList, networkShow } from './view.ts';

export const networkCommands: readonly Command[] = [networkList, networkShow, networkCreate, networkSet, networkDelete];
