import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync, writeSync } from 'node:fs';
import { open, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { afterEach, expect, it } from 'vitest';
import type { Disks } from '../../disks.ts';
import { createDisks } from '../disks.ts';
import { describeReal, exec, tempDir, work } from '../fixture/real.ts';
import type { Exec } from '../exec.ts';
import { createDigestService } from './digest-service.ts';
import { createImageStore } from './images.ts';
import { importImage, type ImportParts } from './import.ts';
import { createPool } from './pool.ts';
import { createUploads } from './uploads.ts';

const MIB = 2 ** 20;
const mounts: string[] = [];

afterEach(async () => {
  for (const dir of mounts.splice(0)) await exec.run('umount', ['-l', dir]);
});

/** A pool of its own small file system. */
async function smallPool(sizeMib: number): Promise<{ disks: Disks; dataDir: string }> {
  const dataDir = join(tempDir(), 'd');
  mkdirSync(dataDir);
  await exec.run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMib}m`, 'berth-test', dataDir]);
  mounts.push(dataDir);
  const log = createLog('test', 'silent');
  return { disks: createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log }), dataDir };
}

/** Takes all the room that is left. */
function fill(dataDir: string): void {
  const fd = openSync(join(dataDir, 'filler'), 'w');
  try {
    for (const size of [MIB, 4_096])
      try {
        for (;;) writeSync(fd, Buffer.alloc(size));
      } catch {
        // full, which is what was wanted
      }
  } finally {
    closeSync(fd);
  }
}

const empty = (dataDir: string): void => rmSync(join(dataDir, 'filler'), { force: true });
const litter = (dataDir: string, ...dirs: string[]): string[] =>
  dirs.flatMap((d) => readdirSync(join(dataDir, d)).map((n) => `${d}/${n}`));
const full = (words: RegExp) => ({ reason: 'DISK_FULL', message: expect.stringMatching(words) as string });

/** A sparse file with an ext superblock's mark and `dataMib` of data; its upload takes room only for what is written. */
async function upload(disks: Disks, id: string, dataMib: number): Promise<void> {
  const first = Buffer.alloc(MIB, 7);
  first.write('\x53\xef', 0x438, 'latin1');
  const sink = await disks.openUpload(id, dataMib * MIB);
  for (let i = 0; i < dataMib; i++) await sink.write(first);
  await sink.finish();
}

/** The import's parts, with one of them spoilt. */
function importParts(dataDir: string, spoil: (parts: ImportParts) => Partial<ImportParts>): ImportParts {
  const pool = createPool(dataDir);
  const digests = createDigestService({ exec, pool, clock: systemClock });
  const parts = { pool, exec, digests, images: createImageStore(pool), uploads: createUploads(pool) };
  return { ...parts, ...spoil(parts) };
}

describeReal('a full disk', ['qemu-img', 'qemu-nbd', 'mount'], () => {
  it('during an upload ends it, and what came is gone', async () => {
    const { disks, dataDir } = await smallPool(16);
    const sink = await disks.openUpload('u', 8 * MIB);
    await sink.write(Buffer.alloc(MIB));
    fill(dataDir);
    const rest = async (): Promise<void> => {
      for (let i = 1; i < 8; i++) await sink.write(Buffer.alloc(MIB));
    };
    await expect(rest()).rejects.toMatchObject(
      full(/^no space left for the upload \(\d+ of 8388608 bytes came\) in \//),
    );
    expect(litter(dataDir, 'uploads')).toEqual([]);
    await sink.abort();
  });

  it('is not made by an upload with more data than its sender said: it ends while there is room left for others', async () => {
    const { disks, dataDir } = await smallPool(64);
    const sink = await disks.openUpload('u', 128 * MIB, MIB);
    let least = Infinity;
    const all = async (): Promise<void> => {
      for (let i = 0; i < 128; i++) {
        await sink.write(Buffer.alloc(MIB, 7));
        const { bavail, bsize } = await statfs(dataDir);
        least = Math.min(least, bavail * bsize);
      }
    };
    await expect(all()).rejects.toMatchObject(full(/^no room for the upload: .* needed, .* free in \//));
    expect(least).toBeGreaterThan(16 * MIB);
    expect(litter(dataDir, 'uploads')).toEqual([]);
  });

  it('that an image cannot fit in is told before any work, in numbers', async () => {
    const { disks, dataDir } = await smallPool(32);
    await upload(disks, 'u', 20);
    await expect(disks.importImage('u', '', work)).rejects.toMatchObject(
      full(/^no room for the image: 2\d(\.\d)? MiB needed, 1\d(\.\d)? MiB free in \//),
    );
    expect(litter(dataDir, 'images', 'staging', 'run')).toEqual([]);
    await disks.removeUpload('u');
    expect(litter(dataDir, 'uploads')).toEqual([]);
  });

  it('that fills up during the conversion ends the import and leaves nothing but the upload', async () => {
    const { disks, dataDir } = await smallPool(48);
    await upload(disks, 'u', 16);
    const runConfined: Exec['runConfined'] = async (program, args, options) => {
      const result = await exec.runConfined(program, args, options);
      if (args[0] === 'measure') fill(dataDir);
      return result;
    };
    const parts = importParts(dataDir, () => ({ exec: { ...exec, runConfined } }));
    await expect(importImage(parts, 'u', '', work)).rejects.toMatchObject(full(/^no room for the image: .* needed, /));
    expect(litter(dataDir, 'images', 'staging', 'run')).toEqual([]);
    empty(dataDir);
    expect(await disks.importImage('u', '', work)).toMatchObject({ virtualSizeBytes: 16 * MIB });
  });

  it('at the very end of an import leaves no half-installed image', async () => {
    const { disks, dataDir } = await smallPool(48);
    await upload(disks, 'u', 16);
    const parts = importParts(dataDir, ({ digests }) => ({
      digests: {
        ...digests,
        ofFile: (...args) => digests.ofFile(...args).finally(() => fill(dataDir)),
      },
    }));
    await expect(importImage(parts, 'u', '', work)).rejects.toMatchObject(full(/^no space left for the image in \//));
    expect(await disks.listImages()).toEqual([]);
    expect(litter(dataDir, 'images', 'staging', 'run')).toEqual([]);
    empty(dataDir);
    await disks.importImage('u', '', work);
    expect((await disks.listImages()).length).toBe(1);
  });

  it('leaves no half-made volume or seed', async () => {
    const { disks, dataDir } = await smallPool(16);
    await disks.capacity();
    fill(dataDir);
    const volume = { volumeId: 'v', vmId: 'vm-1', imageDigest: undefined, sizeBytes: MIB };
    const seed = { volumeId: 's', vmId: 'vm-1', files: { 'meta-data': 'x' } };
    await expect(disks.ensureVolume(volume)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await expect(disks.ensureSeed(seed)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    expect(litter(dataDir, 'volumes', 'staging')).toEqual([]);
    // room for the sidecar only
    const filler = await open(join(dataDir, 'filler'), 'r+');
    await filler.truncate((await stat(join(dataDir, 'filler'))).size - 12_288);
    await filler.close();
    await expect(disks.ensureVolume(volume)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    await expect(disks.ensureSeed(seed)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    expect(litter(dataDir, 'volumes', 'staging')).toEqual([]);
    empty(dataDir);
    await disks.ensureVolume(volume);
    await disks.ensureSeed(seed);
    expect(existsSync(disks.volumePath('s', true))).toBe(true);
  });
});
