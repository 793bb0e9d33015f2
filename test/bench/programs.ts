/** Programs of the build that only the bench starts by itself. */
import { dirname, join } from 'node:path';
import { findRoot } from '@berth/deploy/setup/root.js';
import { PROGRAMS } from '../harness/processes.ts';

/** The thread of the durable state, as the controller's bundle has it. */
export const WORKER_FILE = join(dirname(PROGRAMS.controller), 'sqlite-worker.js');
export const FLEET = join(findRoot(), 'test/dist/fleet.js');
