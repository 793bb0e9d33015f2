/**
 * Makes logical volumes larger: the one thing of LVM that libvirt cannot do. The agent's own unit may open no device, so where systemd
 * runs, it is asked to run the tool, in a unit of a moment. What is in the new room is not looked at: pool/block-volumes.ts's.
 */
import { existsSync } from 'node:fs';
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from './exec.ts';

/** @param device its path. It has so many bytes afterwards, or a few more: whole extents. @throws DISK_FULL */
export type ExtendVolume = (device: string, sizeBytes: number) => Promise<void>;

const EXTEND_MS = 60_000;

/** Pure. */
export const extendArguments = (device: string, sizeBytes: number): readonly string[] => [
  ...['--quiet', '--yes', '--size', `${sizeBytes}b`, device],
];

const UNIT = ['--quiet', '--collect', '--wait', '--pipe', '--description=Berth makes a logical volume larger', '--'];

/** @param systemd whether it runs here. */
export function createExtendVolume(
  exec: Pick<Exec, 'run'>,
  systemd = () => existsSync('/run/systemd/system'),
): ExtendVolume {
  return async (device, sizeBytes) => {
    const args = extendArguments(device, sizeBytes);
    const options = { timeoutMs: EXTEND_MS, what: `making ${device} larger` };
    try {
      if (systemd()) await exec.run('systemd-run', [...UNIT, 'lvextend', ...args], options);
      else await exec.run('lvextend', args, options);
    } catch (e) {
      throw isFull(e) ? new ClusterError('DISK_FULL', `the volume group of ${device} has no room for that`) : e;
    }
  };
}

const isFull = (e: unknown): boolean => isClusterError(e) && /insufficient free space/i.test(e.message);
