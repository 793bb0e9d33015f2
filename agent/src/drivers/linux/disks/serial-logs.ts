/** Serial console logs, written by libvirt's virtlogd, which also rotates them. Read in bounded pieces. */
import { open, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { codeOf } from './files.ts';
import type { Pool } from './pool.ts';

const MAX_READ_BYTES = 4 * 2 ** 20;

export async function readSerialLog(
  pool: Pool,
  vmId: string,
  offset: number,
  maxBytes: number,
): Promise<{ readonly data: Uint8Array; readonly sizeBytes: number }> {
  let file;
  try {
    file = await open(pool.serialLogPath(vmId), 'r');
  } catch (e) {
    if (codeOf(e) === 'ENOENT') return { data: new Uint8Array(), sizeBytes: 0 };
    throw e;
  }
  try {
    const { size } = await file.stat();
    const length = Math.max(0, Math.min(maxBytes, MAX_READ_BYTES, size - offset));
    if (length === 0 || offset < 0) return { data: new Uint8Array(), sizeBytes: size };
    const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
    return { data: buffer.subarray(0, bytesRead), sizeBytes: size };
  } finally {
    await file.close();
  }
}

/** With what virtlogd rotated away: vm.log.0, vm.log.1, … */
export async function removeSerialLog(pool: Pool, vmId: string): Promise<void> {
  const name = basename(pool.serialLogPath(vmId));
  for (const entry of await readdir(pool.serialDir))
    if (entry === name || (entry.startsWith(`${name}.`) && /^\d+$/.test(entry.slice(name.length + 1))))
      await rm(join(pool.serialDir, entry), { force: true });
}
