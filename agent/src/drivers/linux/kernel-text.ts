/**
 * Reads what the kernel has in its memory (/proc, /sys) at once, into one buffer that is used again: a thread of Node's and a buffer for
 * each file cost more than the file. Not for files that lie on a disk, nor for those that ask a device and may wait for it.
 */
import { closeSync, openSync, readSync } from 'node:fs';

const MOST_BYTES = 65_536;
let room: Buffer | undefined;

/** The first 64 KiB of a file; undefined when it cannot be read. */
export function kernelText(path: string): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    room ??= Buffer.allocUnsafeSlow(MOST_BYTES);
    let length = 0;
    // seq files give a page at a time
    for (let n = -1; n !== 0 && length < MOST_BYTES; length += n)
      n = readSync(fd, room, length, MOST_BYTES - length, null);
    return room.toString('utf8', 0, length);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
