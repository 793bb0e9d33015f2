/** Files of disks that somebody else reads, in every format: they hold what was read, take no room for zeros, or are not there. */
import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { LongWork } from '../../../disks.ts';
import { FILE_FORMATS, type AllDisks, type ReadDisk } from '../../../volume-work.ts';
import { createDisks } from '../../disks.ts';
import { describeReal, exec, tempDir } from '../../fixture/real.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const diskOf = (sizeBytes: number, all: readonly Piece[]): ReadDisk => ({
  ...{ volumeId: 'volume-1', sizeBytes },
  async *pieces() {
    yield* all;
  },
});
const disk = diskOf(64 * MIB, [MIB, Buffer.alloc(MIB, 7), 61 * MIB, Buffer.alloc(MIB, 9)]);

describeReal('files of disks that are no files', ['qemu-img', 'qemu-io', 'mount'], () => {
  let dir: string;
  let disks: AllDisks;
  const mounts: string[] = [];
  beforeEach(async () => {
    dir = join(tempDir(), 'pool');
    await mkdir(dir);
    await chmod(dir, 0o711);
    open();
  });
  afterEach(async () => {
    for (const at of mounts.splice(0)) await exec.run('umount', ['-l', at]);
  });
  const open = (): void => {
    const o = { unprivilegedUser: 'nobody', clock: systemClock, log: createLog('test', 'silent') };
    disks = createDisks({ dataDir: dir, ...o });
  };
  const left = async () => [...(await readdir(join(dir, 'staging'))), ...(await readdir(join(dir, 'uploads')))];

  it('hold what was read, whatever the format, tell their hash, and have holes', async () => {
    for (const format of FILE_FORMATS) {
      const told: number[] = [];
      const telling = { ...work, onProgress: (done: number) => void told.push(done) };
      const made = await disks.blocks.exportDisk(`e-${format}`, disk, format, telling);
      const notAgain = diskOf(64 * MIB, []);
      expect(await disks.blocks.exportDisk(`e-${format}`, notAgain, format, work)).toEqual(made);
      const path = join(dir, 'uploads', `e-${format}`);
      const { size, blocks, uid, mode } = statSync(path);
      expect([uid, mode, blocks * 512 < 8 * MIB]).toEqual([0, 0o100600, true]);
      const sha256 = createHash('sha256')
        .update(await readFile(path))
        .digest('hex');
      expect(made).toEqual({ fileBytes: size, virtualSizeBytes: 64 * MIB, sha256 });
      expect(told).toEqual([...told].sort((a, b) => a - b));
      for (const pattern of ['0 0 1M', '7 1M 1M', '0 2M 61M', '9 63M 1M'])
        expect((await execa('qemu-io', ['-f', format, '-c', `read -P ${pattern}`, path])).stdout).not.toMatch(/failed/);
    }
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
  }, 60_000);

  it('or become images', async () => {
    const sizeBytes = 8 * MIB;
    for (let twice = 0; twice < 2; twice++)
      await disks.blocks.captureDisk('c', diskOf(sizeBytes, [MIB, Buffer.alloc(MIB, 7), 6 * MIB]), work);
    expect(await disks.capturedDisk('c')).toMatchObject({ format: 'raw', sizeBytes });
    const image = await disks.importImage('c', 'raw', work);
    expect(image.virtualSizeBytes).toBe(sizeBytes);
    const read = ['-r', '-f', 'qcow2', '-c', 'read -P 7 1M 1M', disks.imagePath(image.digest)];
    expect((await execa('qemu-io', read)).stdout).not.toMatch(/failed/);
  });

  it.each([
    ['less came', diskOf(4 * MIB, [MIB]), /1048576 of its 4194304 bytes of volume volume-1 came/],
    ['more came', diskOf(MIB, [MIB, Buffer.alloc(512, 1)]), /more than its 1048576 bytes/],
  ])('are not there when %s', async (_, wrong, words) => {
    await expect(disks.blocks.exportDisk('e', wrong, 'qcow2', work)).rejects.toThrow(words);
    expect(await left()).toEqual([]);
  });

  it('end when they are cancelled, and when there is no room, before the disk is full', async () => {
    const cancelled = { ...work, signal: AbortSignal.abort(new Error('enough')) };
    await expect(disks.blocks.exportDisk('e', disk, 'raw', cancelled)).rejects.toThrow('enough');
    expect(await left()).toEqual([]);
    await exec.run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'berth-test', dir]);
    mounts.push(dir);
    open();
    const large = diskOf(
      64 * MIB,
      Array.from({ length: 64 }, () => Buffer.alloc(MIB, 3)),
    );
    await expect(disks.blocks.exportDisk('e', large, 'raw', work)).rejects.toMatchObject({
      reason: 'DISK_FULL',
      message: expect.stringMatching(/no room for the file of volume volume-1: 64 MiB needed/) as string,
    });
    expect(await left()).toEqual([]);
  });
});
