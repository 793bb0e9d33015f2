/** The verbs of `berth user`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { userAdd } from './add.ts';
import { userDisable, userEnable, userRemove } from './change.ts';
import { userList, userShow } from './list.ts';
import { userPassword } from './password.ts';
import { userGrant, userRevoke } from './roles.ts';

export const userCommands: readonly Command[] = [
  userList,
  userShow,
  userAdd,
  userGrant,
  userRevoke,
  userPassword,
  userDisable,
  userEnable,
  userRemove,
];
