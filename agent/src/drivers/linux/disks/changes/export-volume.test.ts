/** Files of real volumes, in every format, hold what the volume and its image hold. */
import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../../disks.ts';
import { FILE_FORMATS, type AllDisks } from '../../../volume-work.ts';
import { createDisks } from '../../disks.ts';
import { describeReal, tempDir } from '../../fixture/real.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };

describeReal('files of real volumes', ['qemu-img', 'qemu-io'], () => {
  let dir: string;
  let disks: AllDisks;
  beforeEach(async () => {
    dir = join(tempDir(), 'pool');
    await mkdir(dir);
    await chmod(dir, 0o711);
    const o = { unprivilegedUser: 'nobody', clock: systemClock, log: createLog('test', 'silent') };
    disks = createDisks({ dataDir: dir, ...o });
  });

  it('hold what is in it and in its image, whatever the format, and tell their hash', async () => {
    const disk = Buffer.alloc(8 * MIB);
    disk.fill(5, 0, MIB);
    const sink = await disks.openUpload('u', disk.length);
    await sink.write(disk);
    await sink.finish();
    const imageDigest = (await disks.importImage('u', 'raw', work)).digest;
    await disks.ensureVolume({ volumeId: 'volume-1', vmId: '', imageDigest, sizeBytes: 16 * MIB });
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 1M', disks.volumePath('volume-1', false)]);
    for (const format of FILE_FORMATS) {
      const made = await disks.work.export(`e-${format}`, 'volume-1', format, work);
      expect(await disks.work.export(`e-${format}`, 'volume-1', format, work)).toEqual(made);
      const path = join(dir, 'uploads', `e-${format}`);
      const bytes = await readFile(path);
      expect(made).toEqual({
        ...{ fileBytes: bytes.length, virtualSizeBytes: 16 * MIB },
        sha256: createHash('sha256').update(bytes).digest('hex'),
      });
      // formats that know no sizes between whole clusters are as large as they must be
      const raw = join(dir, 'raw');
      await execa('qemu-img', ['convert', '-f', format, '-O', 'raw', path, raw]);
      for (const pattern of ['5 0 1M', '0 1M 4M', '7 5M 1M', '0 6M 10M'])
        expect((await execa('qemu-io', ['-f', 'raw', '-c', `read -P ${pattern}`, raw])).stdout).not.toMatch(/failed/);
    }
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
  });
});
