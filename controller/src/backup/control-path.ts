/** Where a running controller listens for its own machine's root: a UNIX socket in a folder that nobody else may enter. */
import { join } from 'node:path';

export const CONTROL_DIR = 'control';
/** The kernel's limit for the path of a socket, less its end. */
const MAX_SOCKET_PATH = 107;

export const controlDir = (dataDir: string): string => join(dataDir, CONTROL_DIR);

/** Undefined where the path of the data directory is too long for a socket. */
export function controlSocket(dataDir: string): string | undefined {
  const path = join(controlDir(dataDir), 'socket');
  return Buffer.byteLength(path) <= MAX_SOCKET_PATH ? path : undefined;
}
