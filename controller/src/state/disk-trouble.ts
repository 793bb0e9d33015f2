/** A disk that is full or broken under the controller, in words for people. Knows errors of SQLite and of files; mends nothing. */
import { ClusterError, chain, isClusterError } from '@berth/shared/errors/cluster-error.ts';

const FULL = new Set(['ENOSPC', 'EDQUOT', 'SQLITE_FULL', 'SQLITE_IOERR_SHMSIZE']);

/** @param dir what lies on that disk. @returns undefined for any other trouble. */
export function diskTrouble(e: unknown, dir: string): ClusterError | undefined {
  const codes = codesOf(e);
  if (isClusterError(e, 'DISK_FULL')) return e;
  if (codes.some((c) => FULL.has(c)))
    return new ClusterError(
      'DISK_FULL',
      `no room is left on the disk of ${dir}: make room there (df -h ${dir}), then start again. What was confirmed is kept`,
    );
  const broken = codes.find((c) => c === 'EIO' || c.startsWith('SQLITE_IOERR'));
  return broken === undefined
    ? undefined
    : new ClusterError(
        'INTERNAL',
        `the disk of ${dir} can't be read or written (${chain(e)}, ${broken}): look for its faults (dmesg), then start ` +
          'again. What was confirmed is kept',
      );
}

/** Of the error and of what caused it. */
function codesOf(e: unknown): string[] {
  const codes: string[] = [];
  for (let at: unknown = e, n = 0; at instanceof Error && n < 8; at = at.cause, n++)
    if ('code' in at && typeof at.code === 'string') codes.push(at.code);
  return codes;
}
