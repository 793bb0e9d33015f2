/** The tools that storage needs beside libvirt, run in the storage guest, where its volumes are. */
import { createExtendVolume } from '@berth/agent/drivers/linux/lvm.ts';
import { createReplaceFile } from '@berth/agent/drivers/linux/replace-file.ts';
import { createRunOutside } from '@berth/agent/drivers/linux/outside.ts';
import type { StorageGuest } from '@berth/deploy/lab/storage-guest.ts';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';

export function guestTools(guest: Pick<StorageGuest, 'run'>) {
  const exec: Parameters<typeof createRunOutside>[0] = {
    async run(program, args) {
      const said = await guest.run(`exec 2>&1; ${[program, ...args].join(' ')} && echo done`);
      if (!/done$/.test(said)) throw new ClusterError('INTERNAL', said);
      return { stdout: said, stderr: '', exitCode: 0 };
    },
  };
  const run = createRunOutside(exec, () => false);
  return { extend: createExtendVolume(run), replace: createReplaceFile(run) };
}
