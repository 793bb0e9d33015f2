/** The verbs of `berth job`, in the order in which help shows them. */
import type { Command } from '../core/command.ts';
import { jobAccept, jobCancel, jobRetry, jobWatch } from './change.ts';
import { jobList, jobShow } from './view.ts';

export const jobCommands: readonly Command[] = [jobList, jobShow, jobWatch, jobCancel, jobRetry, jobAccept];
