/** How a logical volume is made larger, and files take the place of others: in units of their own where systemd runs; and what a full volume group is called. */
import { expect, it } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import type { Exec } from './exec.ts';
import { createExtendVolume } from './lvm.ts';
import { createRunOutside } from './outside.ts';
import { createReplaceFile } from './replace-file.ts';

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
  await createExtendVolume(createRunOutside({ run }, () => false))('/dev/vg0/volume-1', 2 ** 24);
  await createExtendVolume(createRunOutside({ run }, () => true))('/dev/vg0/volume-1', 2 ** 24);
  expect(calls[0]).toBe('lvextend --quiet --yes --size 16777216b /dev/vg0/volume-1');
  expect(calls[1]).toMatch(
    /^systemd-run .* --wait .* -- lvextend --quiet --yes --size 16777216b \/dev\/vg0\/volume-1$/,
  );
});

it('puts a file in the place of another at once, or has systemd do it', async () => {
  const { calls, run } = recorder();
  const [path, target] = ['/kvm/p/volume-1.new', '/kvm/p/volume-1.qcow2'];
  await createReplaceFile(createRunOutside({ run }, () => false))(path, target);
  await createReplaceFile(createRunOutside({ run }, () => true))(path, target);
  expect(calls[0]).toBe(`mv --force --no-target-directory -- ${path} ${target}`);
  expect(calls[1]).toMatch(/^systemd-run .* --wait .* -- mv --force --no-target-directory -- /);
});

it('says that the volume group is full', async () => {
  const { run } = recorder('lvextend: Insufficient free space: 12 extents needed, but only 3 available');
  await expect(createExtendVolume(createRunOutside({ run }, () => false))('/dev/vg0/v', 2 ** 24)).rejects.toMatchObject(
    {
      reason: 'DISK_FULL',
    },
  );
});
