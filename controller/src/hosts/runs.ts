/**
 * The runs that this controller's data directory has been through, newest first. A host lets a new run in only when it can
 * name the run that the host knew last: a copy of the directory that was made before that run cannot. Not the fence itself.
 */
import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import { writeSecretFile } from '../trust/store.ts';

/** A host that was away for more runs than this has to be enrolled again. */
const KEPT = 1000;

/** Notes `runId`, on disk when it returns. Answers the runs before it. */
export function recordRun(file: string, runId: string): readonly string[] {
  const former = read(file);
  writeSecretFile(file, `${JSON.stringify([runId, ...former].slice(0, KEPT))}\n`);
  return former;
}

function read(file: string): readonly string[] {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw e;
  }
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    throw badState(`${file} is damaged: put it back from a backup, or remove it and enrol the hosts again`);
  }
}
