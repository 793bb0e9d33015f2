/** Every command of `berth`, in the order in which help shows them. */
import { completion } from './completion/completion.ts';
import type { Command } from './core/command.ts';
import { eventList, eventWatch } from './event/event.ts';
import { hostAdd, hostToken } from './host/add.ts';
import { hostDrain, hostRemove, hostResume } from './host/change.ts';
import { hostList } from './host/list.ts';
import { hostShow } from './host/show.ts';
import { imageDelete } from './image/delete.ts';
import { imageImport } from './image/import.ts';
import { imageList, imageShow } from './image/view.ts';
import { jobAccept, jobCancel, jobRetry, jobWatch } from './job/change.ts';
import { jobList, jobShow } from './job/view.ts';
import { contextList, contextUse, login } from './login/login.ts';
import { tokenCreate, tokenDelete, tokenList } from './token/token.ts';
import { vmClone } from './vm/clone.ts';
import { vmConsole } from './vm/console.ts';
import { vmCreate } from './vm/create.ts';
import { vmDelete } from './vm/delete.ts';
import { vmList } from './vm/list.ts';
import { vmLog } from './vm/log.ts';
import { vmShow } from './vm/show.ts';
import { vmStart } from './vm/start.ts';
import { vmStop } from './vm/stop.ts';

export const COMMANDS: readonly Command[] = [
  ...[vmList, vmShow, vmClone, vmCreate, vmStart, vmStop, vmDelete, vmConsole, vmLog],
  ...[imageList, imageShow, imageImport, imageDelete],
  ...[hostList, hostShow, hostAdd, hostToken, hostDrain, hostResume, hostRemove],
  ...[jobList, jobShow, jobWatch, jobCancel, jobRetry, jobAccept],
  ...[eventList, eventWatch],
  ...[tokenList, tokenCreate, tokenDelete],
  ...[login, contextList, contextUse, completion],
];

export const NOUNS: Readonly<Record<string, string>> = {
  vm: 'virtual machines',
  image: 'disk images that VMs are cloned from',
  host: 'machines that run VMs',
  job: 'long work: what runs, what failed, what is stuck',
  event: 'what happened',
  token: 'who may log in',
  context: 'controllers that this command line knows',
};
