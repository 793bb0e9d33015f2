import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readdirSync } from 'node:fs';
import { createLog } from '@berth/shared/log/log.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { rawDisk } from '@berth/test/harness/disk-files.ts';
import { expect, it } from 'vitest';
import type { Disks } from '../../disks.ts';
import { createDisks } from '../disks.ts';
import { describeReal, exec, tempDir, work } from '../fixture/real.ts';
import { createPool } from './pool.ts';

const MIB = 2 ** 20;
const start = (): { disks: Disks; dataDir: string } => {
  const dataDir = join(tempDir(), 'd');
  const log = createLog('test', 'silent');
  return { disks: createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log }), dataDir };
};

async function imported(disks: Disks, id: string, bytes: Buffer): Promise<string> {
  const sink = await disks.openUpload(id, bytes.length);
  await sink.write(bytes);
  await sink.finish();
  const { digest } = await disks.importImage(id, '', work);
  await disks.removeUpload(id);
  return digest;
}

/** What a guest would see of a disk, as a raw file. */
async function contents(path: string): Promise<Buffer> {
  const raw = join(tempDir(), 'raw');
  await exec.run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', path, raw]);
  return readFile(raw);
}

const write = (path: string, at: string): Promise<unknown> =>
  exec.run('qemu-io', ['-f', 'qcow2', '-c', `write -P 0x5a ${at} 64k`, path]);

async function written(disks: Disks): Promise<{ digest: string; path: string }> {
  const digest = await imported(disks, 'base', rawDisk(8 * MIB));
  await disks.ensureVolume({ volumeId: 'volume-a', vmId: 'vm-a', imageDigest: digest, sizeBytes: 10 * MIB });
  const path = disks.volumePath('volume-a', false);
  await write(path, '9M');
  return { digest, path };
}

describeReal('a captured disk', ['qemu-img', 'qemu-nbd', 'qemu-io'], () => {
  it('becomes an image of all that its chain holds, which stands alone; the volume is as it was', async () => {
    const { disks, dataDir } = start();
    const { path } = await written(disks);
    const [before, seen] = [await readFile(path), await stat(path)];
    await disks.captureVolume('u', 'volume-a', work);
    const image = await disks.importImage('u', 'qcow2', work);
    await disks.removeUpload('u');
    expect(image).toMatchObject({ virtualSizeBytes: 10 * MIB });
    const made = await contents(disks.imagePath(image.digest));
    expect(made.equals(await contents(path))).toBe(true);
    expect(made[9 * MIB]).toBe(0x5a);
    const { stdout } = await exec.run('qemu-img', ['info', '--output=json', disks.imagePath(image.digest)]);
    expect(JSON.parse(stdout)).not.toHaveProperty('backing-filename');
    expect([(await readFile(path)).equals(before), (await stat(path)).uid]).toEqual([true, seen.uid]);
    for (const dir of ['uploads', 'staging']) expect(readdirSync(join(dataDir, dir))).toEqual([]);
  });

  it('with the same changes over another image is another image', async () => {
    const { disks } = start();
    const digests: string[] = [];
    for (const [i, mark] of [1, 2].entries()) {
      const bytes = rawDisk(8 * MIB);
      bytes.fill(mark, 5 * MIB, 5 * MIB + 4_096);
      const imageDigest = await imported(disks, `b${i}`, bytes);
      await disks.ensureVolume({ volumeId: `volume-${i}`, vmId: 'vm-a', imageDigest, sizeBytes: 8 * MIB });
      await write(disks.volumePath(`volume-${i}`, false), '1M');
      await disks.captureVolume(`u${i}`, `volume-${i}`, work);
      digests.push((await disks.importImage(`u${i}`, 'qcow2', work)).digest);
    }
    expect(new Set(digests).size).toBe(2);
  });

  it('whose header was made to name another file is refused, and nothing of that file is read', async () => {
    const { disks, dataDir } = start();
    await written(disks);
    const path = disks.volumePath('volume-a', false);
    const secret = join(dataDir, 'secret');
    await writeFile(secret, 'SECRET');
    await writeFile(path, emptyQcow2(10 * MIB, secret));
    await expect(disks.captureVolume('u', 'volume-a', work)).rejects.toMatchObject({ reason: 'BAD_STATE' });
    // and where it was changed behind our back, after the look
    const pool = createPool(dataDir);
    await writeFile(path, emptyQcow2(10 * MIB));
    await disks.ensureVolume({ volumeId: 'volume-c', vmId: 'vm-a', imageDigest: undefined, sizeBytes: 10 * MIB });
    await disks.captureVolume('u', 'volume-c', work);
    await writeFile(pool.uploadPath('u'), emptyQcow2(10 * MIB, secret));
    await expect(disks.importImage('u', 'qcow2', work)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
  });

  it('of the raw format is taken as it is, whatever its first bytes look like', async () => {
    const { disks } = start();
    await disks.ensureVolume({
      ...{ volumeId: 'volume-r', vmId: 'vm-a', imageDigest: undefined, sizeBytes: 2 * MIB },
      format: 'raw',
    });
    await writeFile(
      disks.volumePath('volume-r', false, 'raw'),
      Buffer.concat([emptyQcow2(MIB), Buffer.alloc(2 * MIB)]),
    );
    await disks.captureVolume('u', 'volume-r', work);
    const image = await disks.importImage('u', 'qcow2', work);
    const made = await contents(disks.imagePath(image.digest));
    expect(made.subarray(0, 4).toString('latin1')).toBe('QFI\xfb');
  });

  it('of the raw format is not taken for the qcow2 file of the same bytes that was imported before', async () => {
    const { disks } = start();
    const bytes = emptyQcow2(MIB);
    const digest = await imported(disks, 'file', bytes);
    const about = { volumeId: 'volume-r', vmId: 'vm-a', imageDigest: undefined, sizeBytes: bytes.length };
    await disks.ensureVolume({ ...about, format: 'raw' });
    await writeFile(disks.volumePath('volume-r', false, 'raw'), bytes);
    await disks.captureVolume('u', 'volume-r', work);
    const image = await disks.importImage('u', 'qcow2', work);
    expect(image.digest).not.toBe(digest);
    expect((await contents(disks.imagePath(image.digest))).equals(bytes)).toBe(true);
  });

  it('is given up when it is cancelled, and leaves nothing', async () => {
    const { disks, dataDir } = start();
    await written(disks);
    const signal = AbortSignal.abort();
    await expect(disks.captureVolume('u', 'volume-a', { ...work, signal })).rejects.toMatchObject({
      reason: 'CANCELLED',
    });
    expect(readdirSync(join(dataDir, 'staging'))).toEqual([]);
    expect(await disks.hasUpload('u')).toBe(false);
  });
});
