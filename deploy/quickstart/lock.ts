/** One quickstart at a time: a file with the process id of the one that works. A dead one's is taken over. */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LOCK, type Place } from './state.ts';

/** Runs `work` while holding the lock; throws when another quickstart has it. */
export async function alone({ stateDir }: Place, work: () => Promise<void>): Promise<void> {
  const file = join(stateDir, LOCK);
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const other = holder(file);
  if (other !== undefined)
    throw new Error(`another quickstart is at work (process ${other}). Wait for its end, or end it`);
  rmSync(file, { force: true });
  writeFileSync(file, String(process.pid), { flag: 'wx' });
  try {
    await work();
  } finally {
    rmSync(file, { force: true });
    if (readdirSync(stateDir).length === 0) rmdirSync(stateDir);
  }
}

function holder(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return pid !== process.pid && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('quickstart') ? pid : undefined;
  } catch {
    return undefined;
  }
}
