/**
 * A guest must never fill its host's disk by printing. virtlogd sees to that by rotating; where libvirt does not use it
 * (`stdio_handler = "file"`), or is told to keep more, this gives the old parts of a log back to the file system as a hole, so that
 * offsets stay what they are and its writer notices nothing.
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { chain } from '@berth/shared/errors/cluster-error.ts';
import type { Log } from '@berth/shared/log/log.ts';
import type { Exec } from '../exec.ts';
import { codeOf } from './files.ts';
import type { Pool } from './pool.ts';

/** Of each file of a log; virtlogd keeps four of 2 MiB unless it is told otherwise. What is older is never shown. */
export const KEPT_BYTES = 8 * 2 ** 20;
/** Holes are made for at least so much. */
const SLACK_BYTES = 2 ** 20;
const BLOCK_BYTES = 4096;

export interface BoundDeps {
  readonly pool: Pool;
  readonly exec: Exec;
  readonly log: Log;
}

export async function boundSerialLogs(deps: BoundDeps): Promise<void> {
  for (const name of await readdir(deps.pool.serialDir)) {
    const path = join(deps.pool.serialDir, name);
    const { size, blocks } = await stat(path).catch(absent);
    if (Math.min(size, blocks * 512) <= KEPT_BYTES + SLACK_BYTES) continue;
    await punch(deps, path, Math.floor((size - KEPT_BYTES) / BLOCK_BYTES) * BLOCK_BYTES);
  }
}

async function punch({ exec, log }: BoundDeps, path: string, bytes: number): Promise<void> {
  try {
    await exec.run('fallocate', ['--punch-hole', '--offset', '0', '--length', String(bytes), path]);
    log.warn({ path }, 'a serial log is rotated by nobody: its beginning was dropped (is virtlogd used?)');
  } catch (e) {
    log.error({ path }, `the serial log ${path} grows without bound: ${chain(e)}`);
  }
}

const absent = (e: unknown): { size: number; blocks: number } => {
  if (codeOf(e) === 'ENOENT') return { size: 0, blocks: 0 };
  throw e;
};
