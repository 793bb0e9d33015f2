import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { rawDisk } from '@berth/test/harness/disk-files.ts';
import { expect, it } from 'vitest';
import { createDisks } from '../disks.ts';
import { describeReal, exec, tempDir, work } from '../fixture/real.ts';

const MIB = 2 ** 20;

describeReal('disks of other virtualisers', ['qemu-img', 'qemu-nbd'], () => {
  it('become the same image as the raw disk that they were made from', async () => {
    const log = createLog('test', 'silent');
    const disks = createDisks({ dataDir: join(tempDir(), 'd'), unprivilegedUser: 'nobody', clock: systemClock, log });
    const dir = tempDir();
    const raw = join(dir, 'raw');
    await writeFile(raw, rawDisk(9 * MIB));
    const imported = async (id: string, path: string): Promise<string> => {
      const bytes = await readFile(path);
      const sink = await disks.openUpload(id, bytes.length);
      await sink.write(bytes);
      await sink.finish();
      return (await disks.importImage(id, '', work)).digest;
    };
    const digests = [await imported('raw', raw)];
    for (const [i, [format, options]] of [
      ['vmdk', 'subformat=monolithicSparse'],
      ['vmdk', 'subformat=streamOptimized'],
      ['vdi', 'static=off'],
      ['vhdx', 'subformat=dynamic'],
      ['vpc', 'subformat=dynamic,force_size=on'],
      ['vpc', 'subformat=fixed,force_size=on'],
    ].entries()) {
      const path = join(dir, `disk-${i}`);
      await exec.run('qemu-img', ['convert', '-f', 'raw', '-O', format!, '-o', options!, raw, path]);
      digests.push(await imported(`u${i}`, path));
    }
    expect(new Set(digests).size).toBe(1);
  });
});
