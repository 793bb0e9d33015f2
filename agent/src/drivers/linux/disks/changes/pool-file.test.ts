/** Files of pools written anew by real programs: what comes out, what is refused, and that the file they are made of stays as it was. */
import { execa } from 'execa';
import { chmod, mkdir, readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { describeReal, tempDir } from '../../fixture/real.ts';
import { createDisks } from '../../disks.ts';
import type { LongWork } from '../../../disks.ts';
import type { AllDisks, NewPoolFile, PoolFile } from '../../../volume-work.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const plain = { format: 'qcow2', base: undefined } as const;

describeReal('real files of pools', ['qemu-img', 'qemu-nbd', 'qemu-io'], () => {
  let dir: string;
  let disks: AllDisks;
  let file: PoolFile;
  beforeEach(async () => {
    dir = join(tempDir(), 'data');
    await mkdir(dir);
    await chmod(dir, 0o711);
    disks = createDisks({
      dataDir: dir,
      unprivilegedUser: 'nobody',
      clock: systemClock,
      log: createLog('t', 'silent'),
    });
    // nobody but root comes to it, as the agent may change nothing there
    const pool = join(tempDir(), 'pool');
    await mkdir(pool, { mode: 0o700 });
    file = {
      volumeId: 'volume-1',
      path: join(pool, 'volume-1.qcow2'),
      format: 'qcow2',
      sizeBytes: 64 * MIB,
      backing: undefined,
    };
    await writeFile(file.path, emptyQcow2(64 * MIB), { mode: 0o600 });
  });
  const io = (command: string, path = file.path, format = 'qcow2') =>
    execa('qemu-io', ['-f', format, '-c', command, path]);
  const holds = async (patterns: readonly string[], path: string, format = 'qcow2'): Promise<void> => {
    for (const p of patterns) expect((await io(`read -P ${p}`, path, format)).stdout).not.toMatch(/failed/);
  };
  const image = async (): Promise<string> => {
    const disk = Buffer.alloc(8 * MIB).fill(5, 0, MIB);
    const sink = await disks.openUpload('u', disk.length);
    await sink.write(disk);
    await sink.finish();
    return disks.imagePath((await disks.importImage('u', 'raw', work)).digest);
  };
  const anew = async (wanted: NewPoolFile, over: object = {}, how = work) =>
    disks.blocks.rewriteFile({ ...file, ...over }, wanted, how);
  /** A QEMU that has written to it, and keeps it. */
  async function whileOpen(write: string, fn: () => Promise<void>): Promise<void> {
    const user = execa('qemu-io', ['-f', 'qcow2', file.path], { stdin: 'pipe', stdout: 'pipe' });
    try {
      user.stdin.write(`${write}\n`);
      await new Promise((resolve) => user.stdout.once('data', resolve));
      await expect.poll(async () => (await io('read 0 512').catch((e: Error) => e)) instanceof Error).toBe(true);
      await fn();
    } finally {
      user.stdin.end('quit\n');
      await user;
    }
  }
  const info = async (path: string) =>
    JSON.parse((await execa('qemu-img', ['info', '--output=json', path])).stdout) as Record<string, unknown>;

  it('hold the same in the other format and without what is zero, and the old file is as it was', async () => {
    await io('write -P 7 5M 1M');
    await io('write -P 0 10M 20M');
    const before = await stat(file.path);
    const sparse = await anew(plain);
    expect(sparse.allocatedBytes).toBeLessThan(3 * MIB);
    await holds(['7 5M 1M', '0 6M 58M'], sparse.ownPath!);
    await execa('qemu-img', ['check', '-q', sparse.ownPath!]);
    await sparse.close();
    const raw = await anew({ format: 'raw', base: undefined });
    expect(raw.fileBytes).toBe(64 * MIB);
    await holds(['7 5M 1M', '0 6M 58M'], raw.ownPath!, 'raw');
    await raw.close();
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
    expect(await stat(file.path)).toMatchObject({ mtimeMs: before.mtimeMs, mode: before.mode, uid: 0, gid: 0 });
  });

  it('stay overlays of their image, or get what is in it', async () => {
    const backing = await image();
    await writeFile(file.path, emptyQcow2(64 * MIB, backing), { mode: 0o600 });
    await io('write -P 7 5M 1M');
    await io('write -P 0 0 512k');
    const overlay = await anew({ format: 'qcow2', base: backing }, { backing });
    expect(await info(overlay.ownPath!)).toMatchObject({ 'backing-filename': backing });
    await holds(['0 0 512k', '5 512k 512k', '7 5M 1M'], overlay.ownPath!);
    await overlay.close();
    const full = await anew(plain, { backing });
    expect(await info(full.ownPath!)).not.toHaveProperty('backing-filename');
    await holds(['0 0 512k', '5 512k 512k', '7 5M 1M', '0 6M 58M'], full.ownPath!);
    await full.close();
    await expect(anew(plain)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
  });

  it('become smaller only where nothing is cut off', async () => {
    await io('write -P 7 5M 1M');
    const small = await anew({ ...plain, sizeBytes: 6 * MIB });
    expect(await info(small.ownPath!)).toMatchObject({ 'virtual-size': 6 * MIB });
    await holds(['7 5M 1M', '0 0 5M'], small.ownPath!);
    await small.close();
    await expect(anew({ ...plain, sizeBytes: 5 * MIB })).rejects.toThrow(
      /cannot become smaller: there is data up to 6 MiB/,
    );
    const mbr = Buffer.alloc(512);
    mbr.set([0x80, 0, 0, 0, 0x83, 0, 0, 0], 446);
    mbr.writeUInt32LE(2_048, 454);
    mbr.writeUInt32LE(80_000, 458);
    mbr.writeUInt16LE(0xaa55, 510);
    const raw = { ...file, path: file.path.replace('qcow2', 'raw'), format: 'raw' as const };
    await writeFile(raw.path, mbr, { mode: 0o600 });
    await truncate(raw.path, 64 * MIB);
    const to = { format: 'raw', base: undefined } as const;
    await expect(anew({ ...to, sizeBytes: 20 * MIB }, raw)).rejects.toThrow(/its last partition ends at/);
    const cut = await anew({ ...to, sizeBytes: 48 * MIB }, raw);
    expect(cut.fileBytes).toBe(48 * MIB);
    await cut.close();
    expect((await stat(raw.path)).size).toBe(64 * MIB);
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
  });

  it('give what they held in a snapshot, with what is in their image, while a QEMU has them open', async () => {
    const backing = await image();
    await writeFile(file.path, emptyQcow2(64 * MIB, backing), { mode: 0o600 });
    await io('write -P 7 5M 1M');
    await execa('qemu-img', ['snapshot', '-c', 'before', file.path]);
    const of = { file: { ...file, backing }, snapshot: 'before' };
    await whileOpen('write -P 9 5M 1M', async () => {
      for (const _ of [1, 2]) await disks.blocks.captureSnapshot('captured', of, work);
      await expect(disks.blocks.captureSnapshot('no', { ...of, snapshot: 'other' }, work)).rejects.toThrow(
        /copying snapshot other of disk volume-1/,
      );
    });
    const { path } = (await disks.capturedDisk('captured'))!;
    expect(await info(path)).not.toHaveProperty('backing-filename');
    await holds(['5 0 1M', '7 5M 1M', '0 6M 58M'], path);
    await holds(['9 5M 1M'], file.path);
    await expect(disks.blocks.captureSnapshot('no', { ...of, file }, work)).rejects.toMatchObject({
      reason: 'UNSAFE_IMAGE',
    });
    expect(await disks.capturedDisk('no')).toBeUndefined();
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
    expect(await stat(file.path)).toMatchObject({ uid: 0, gid: 0 });
  });

  it('are left alone while a QEMU has them open, when it is cancelled, and when they are not what they should be', async () => {
    const ended = new AbortController();
    ended.abort();
    await expect(anew(plain, {}, { ...work, signal: ended.signal })).rejects.toMatchObject({ reason: 'CANCELLED' });
    await expect(anew(plain, { sizeBytes: 32 * MIB })).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    await whileOpen('write -P 7 0 64k', () => expect(anew(plain)).rejects.toMatchObject({ reason: 'IN_USE' }));
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
  });
});
