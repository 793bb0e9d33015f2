/** The verbs of `berth pool`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { poolRefresh, poolRemove, poolSet, poolStart, poolStop } from './change.ts';
import { poolCreate } from './create.ts';
import { poolList, poolShow } from './view.ts';

export const poolCommands: readonly Command[] = [
  poolList,
  poolShow,
  poolCreate,
  poolStart,
  poolStop,
  poolRefresh,
  poolSet,
  poolRemove,
];
