/**
 * Makes logical volumes larger: the one thing of LVM that libvirt cannot do, and the agent's own unit may not. What is in the new room
 * is not looked at: pool/block-volumes.ts's.
 */
import { ClusterError, isClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { RunOutside } from './outside.ts';

/** @param device its path. It has so many bytes afterwards, or a few more: whole extents. @throws DISK_FULL */
export type ExtendVolume = (device: string, sizeBytes: number) => Promise<void>;

const EXTEND_MS = 60_000;

/** Pure. */
export const extendArguments = (device: string, sizeBytes: number): readonly string[] => [
  ...['--quiet', '--yes', '--size', `${sizeBytes}b`, device],
];

export const createExtendVolume =
  (run: RunOutside): ExtendVolume =>
  async (device, sizeBytes) => {
    const about = { description: 'Berth makes a logical volume larger', what: `making ${device} larger` };
    try {
      await run(['lvextend', ...extendArguments(device, sizeBytes)], { ...about, timeoutMs: EXTEND_MS });
    } catch (e) {
      throw isFull(e) ? new ClusterError('DISK_FULL', `the volume group of ${device} has no room for that`) : e;
    }
  };

const isFull = (e: unknown): boolean => isClusterError(e) && /insufficient free space/i.test(e.message);
