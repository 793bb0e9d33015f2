import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { rawDisk } from '@berth/test/harness/disk-files.ts';
import { expect, it } from 'vitest';
import { createDisks } from '../disks.ts';
import { describeReal, exec, tempDir, work } from '../fixture/real.ts';

const MIB = 2 ** 20;

describeReal('an exported image', ['qemu-img', 'qemu-nbd'], () => {
  it('is a file of its own in each format, which holds the same disk; the image stays as it was', async () => {
    const dataDir = join(tempDir(), 'd');
    const log = createLog('test', 'silent');
    const disks = createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log });
    const raw = rawDisk(9 * MIB);
    const sink = await disks.openUpload('u', raw.length);
    await sink.write(raw);
    await sink.finish();
    const { digest } = await disks.importImage('u', '', work);
    await disks.removeUpload('u');
    const before = await stat(disks.imagePath(digest));
    for (const format of ['qcow2', 'raw', 'vmdk'] as const) {
      const made = await disks.exportImage(`x-${format}`, digest, format, work);
      expect(await disks.exportImage(`x-${format}`, digest, format, work)).toEqual(made);
      const parts: Uint8Array[] = [];
      for await (const b of disks.readStaged(`x-${format}`, 0, work.signal)) parts.push(b);
      const file = Buffer.concat(parts);
      expect([file.length, createHash('sha256').update(file).digest('hex')]).toEqual([made.fileBytes, made.sha256]);
      const rest: Uint8Array[] = [];
      for await (const b of disks.readStaged(`x-${format}`, 1000, work.signal)) rest.push(b);
      expect(Buffer.concat(rest).equals(file.subarray(1000))).toBe(true);
      const path = join(tempDir(), format);
      await writeFile(path, file);
      await writeFile(`${path}.raw`, raw);
      await exec.run('qemu-img', ['compare', '-f', format, '-F', 'raw', path, `${path}.raw`]);
      await disks.removeUpload(`x-${format}`);
    }
    const after = await stat(disks.imagePath(digest));
    expect([after.mode, after.uid, after.ino, after.nlink]).toEqual([before.mode, before.uid, before.ino, 1]);
    for (const dir of ['uploads', 'staging']) expect(readdirSync(join(dataDir, dir))).toEqual([]);
    const lost = disks.readStaged('x-raw', 0, work.signal)[Symbol.asyncIterator]().next();
    await expect(lost).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });
});
