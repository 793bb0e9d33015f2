import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { disksContract } from '@berth/test/harness/disks-contract.ts';
import { createDisks } from '../disks.ts';
import { describeReal, stopHelpers, tempDir } from '../fixture/real.ts';

const log = createLog('test', 'silent');

describeReal('real disks', ['qemu-img', 'qemu-nbd', 'qemu-storage-daemon'], () => {
  disksContract('a real host', async () => {
    const dir = tempDir();
    const dirs = [join(dir, 'a'), join(dir, 'b')] as const;
    for (const d of dirs) await mkdir(d);
    const open = (dataDir: string) => createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log });
    return {
      disks: open(dirs[0]),
      other: open(dirs[1]),
      dispose: async () => {
        for (const d of dirs) await stopHelpers(d);
      },
    };
  });
});
