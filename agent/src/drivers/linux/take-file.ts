/**
 * What a confined program has made becomes root's, without believing what lies under its name: the folder is the program's, which
 * may have put a link to somebody else's file there, or do so at any moment.
 */
import { constants } from 'node:fs';
import { chmod, chown, lstat, open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

/** A folder that the unprivileged user could change is root's from now on; who may pass through may reach what is in it. */
export async function takeFolder(dir: string): Promise<void> {
  await chown(dir, 0, 0);
  await chmod(dir, 0o711);
}

/** A file that changes hands for a while: itself, and not what a link in its place leads to. @throws UNSAFE_IMAGE */
export async function openToLend(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (e: NodeJS.ErrnoException) => {
      throw e.code === 'ELOOP' || e.code === 'ENXIO' ? notLent(path) : e;
    },
  );
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw notLent(path);
}

const notLent = (path: string): ClusterError =>
  new ClusterError('UNSAFE_IMAGE', `nothing is done with ${path}: it is no file. Somebody changed it by hand`);

/** The file, and the folder that it lies in. @throws INTERNAL when it is none, or has another name somewhere. */
export async function takeFile(path: string, mode: number, gid = 0): Promise<void> {
  await takeFolder(dirname(path));
  // a pipe would keep who opens it waiting
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch((e: NodeJS.ErrnoException) => {
    throw e.code === 'ELOOP' || e.code === 'ENXIO' ? notAsMade(path, 'it is no file') : e;
  });
  try {
    const about = await file.stat();
    if (!about.isFile()) throw notAsMade(path, 'it is no file');
    if (about.nlink !== 1) throw notAsMade(path, `it has ${about.nlink} names`);
    await file.chown(0, gid);
    await file.chmod(mode);
  } finally {
    await file.close();
  }
}

/** A socket that a helper listens on may be connected to by everybody; the helper can put nothing else in its place any more. */
export async function openSocket(path: string): Promise<void> {
  await takeFolder(dirname(path));
  if (!(await lstat(path)).isSocket()) throw notAsMade(path, 'it is no socket');
  await chmod(path, 0o666);
}

const notAsMade = (path: string, why: string): ClusterError =>
  new ClusterError('INTERNAL', `${path} is not what a program was to make there (${why}); it is not used`);
