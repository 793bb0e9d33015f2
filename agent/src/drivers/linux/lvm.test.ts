/** How a logical volume is made larger: in a unit of its own where systemd runs, and what a full volume group is called. */
import { expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from './exec.ts';
import { createExtendVolume } from './lvm.ts';

const recorder = (says?: string) => {
  const calls: string[] = [];
  const run: Exec['run'] = async (program, args) => {
    calls.push([program, ...args].join(' '));
    if (says !== undefined) throw new ClusterError('INTERNAL', says);
    return { stdout: '', stderr: '', exitCode: 0 };
  };
  return { calls, run };
};

it('runs lvextend itself, or has systemd run it', async () => {
  const { calls, run } = recorder();
  await createExtendVolume({ run }, () => false)('/dev/vg0/volume-1', 2 ** 24);
  await createExtendVolume({ run }, () => true)('/dev/vg0/volume-1', 2 ** 24);
  expect(calls[0]).toBe('lvextend --quiet --yes --size 16777216b /dev/vg0/volume-1');
  expect(calls[1]).toMatch(
    /^systemd-run .* --wait .* -- lvextend --quiet --yes --size 16777216b \/dev\/vg0\/volume-1$/,
  );
});

it('says that the volume group is full', async () => {
  const { run } = recorder('lvextend: Insufficient free space: 12 extents needed, but only 3 available');
  await expect(createExtendVolume({ run }, () => false)('/dev/vg0/v', 2 ** 24)).rejects.toMatchObject({
    reason: 'DISK_FULL',
  });
});
