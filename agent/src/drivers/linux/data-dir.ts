/**
 * Makes a data directory this process's own: two agents on one would sweep up each other's work. The lock is the kernel's
 * (flock), so it ends with the process however that ends; helpers that outlive the agent don't hold it.
 */
import { ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { badState } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from './exec.ts';
import { withUnitAdvice } from './unit-paths.ts';

/** Holds until the process ends. @throws BAD_STATE when another agent has it, or when it cannot be written to. */
export async function claimDataDir(dataDir: string, exec: Pick<Exec, 'run'>): Promise<void> {
  const path = join(dataDir, 'agent.lock');
  const lock = await openLock(dataDir, path);
  // the lock belongs to the open file, which this process shares with `flock` and keeps when that has ended
  const { exitCode } = await exec.run('flock', ['--exclusive', '--nonblock', '3'], {
    descriptor: lock,
    okCodes: [1],
    what: `locking ${path}`,
  });
  if (exitCode === 0) return note(lock);
  const pid = /^\d+/.exec(readFileSync(path, 'utf8'))?.[0];
  const other = pid === undefined ? 'another agent' : `another agent (process ${pid})`;
  throw badState(`${other} runs on ${dataDir}; stop it, or give this one a data directory of its own`);
}

async function openLock(dataDir: string, path: string): Promise<number> {
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o711 });
    // a number and not a FileHandle, which would be closed when nobody refers to it any more
    return openSync(path, 'a+', 0o600);
  } catch (e) {
    throw badState(`the data directory ${dataDir} cannot be used: ${withUnitAdvice(dataDir, (e as Error).message)}`);
  }
}

/** For whoever finds the lock taken. */
function note(lock: number): void {
  ftruncateSync(lock);
  writeSync(lock, `${process.pid}\n`);
}
