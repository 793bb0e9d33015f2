/** Volumes that come as files from another place, with real files: whole and theirs alone, or not at all. */
import { execa } from 'execa';
import { appendFile, chmod, mkdir, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { piecesOf } from '@berth/shared/disk/pieces.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { emptyQcow2 } from '@berth/shared/disk/qcow2-create.ts';
import type { LongWork } from '../../../disks.ts';
import type { AllDisks, VolumeFile } from '../../../volume-work.ts';
import { createDisks } from '../../disks.ts';
import { describeReal, tempDir } from '../../fixture/real.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const usual = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;
const fileOf = (bytes: Buffer): VolumeFile => ({
  ...{ fileBytes: bytes.length, allocatedBytes: bytes.length },
  pieces: async function* () {
    yield bytes;
  },
});

describeReal('real volumes that are carried', ['qemu-img', 'qemu-io', 'qemu-nbd'], () => {
  const hosts: { dir: string; disks: AllDisks }[] = [];
  beforeEach(async () => {
    hosts.length = 0;
    for (const name of ['here', 'there/with/a/longer/path']) {
      const dir = join(tempDir(), name);
      await mkdir(dir, { recursive: true });
      await chmod(dir, 0o711);
      const o = { unprivilegedUser: 'nobody', clock: systemClock, log: createLog('test', 'silent') };
      hosts.push({ dir, disks: createDisks({ dataDir: dir, ...o }) });
    }
  });
  const image = async (disks: AllDisks): Promise<string> => {
    const disk = Buffer.alloc(8 * MIB);
    disk.fill(5, 0, MIB);
    const sink = await disks.openUpload('u', disk.length);
    await sink.write(disk);
    await sink.finish();
    return (await disks.importImage('u', 'raw', work)).digest;
  };
  const files = async (dir: string): Promise<string[]> => (await readdir(join(dir, 'volumes'))).sort();
  const spec = (over: object) => ({
    volumeId: 'volume-1',
    vmId: '',
    sizeBytes: 64 * MIB,
    imageDigest: undefined,
    ...over,
  });

  it('over an image, with the path that it has there; what they hold is the same', async () => {
    const [here, there] = [hosts[0]!, hosts[1]!];
    const imageDigest = await image(here.disks);
    await image(there.disks);
    await here.disks.work.make({ ...spec({ imageDigest }), ...usual } as never, work);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 1M', here.disks.volumePath('volume-1', false)]);
    const file = await here.disks.work.read('volume-1');
    for (let twice = 0; twice < 2; twice++) await there.disks.work.install(spec({ imageDigest }), file, work);
    const path = there.disks.volumePath('volume-1', false);
    const info = JSON.parse((await execa('qemu-img', ['info', '--output=json', path])).stdout) as object;
    expect(info).toMatchObject({ 'backing-filename': there.disks.imagePath(imageDigest), 'virtual-size': 64 * MIB });
    for (const pattern of ['7 5M 1M', '5 0 1M', '0 6M 1M'])
      expect((await execa('qemu-io', ['-f', 'qcow2', '-c', `read -P ${pattern}`, path])).stdout).not.toMatch(/failed/);
    expect((await execa('qemu-img', ['check', path])).stdout).toMatch(/No errors/);
    expect(await stat(path)).toMatchObject({ uid: 0, mode: 0o100600 });
  });

  it('after a break, from what a power cut would leave of them, and become the volume without a copy', async () => {
    const [here, there] = [hosts[0]!, hosts[1]!];
    const imageDigest = await image(here.disks);
    await image(there.disks);
    await here.disks.work.make({ ...spec({ imageDigest }), ...usual } as never, work);
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 1M', here.disks.volumePath('volume-1', false)]);
    const file = await here.disks.work.read('volume-1');
    const { fileBytes, allocatedBytes, origin = '' } = file;
    const half = Math.floor(fileBytes / 2);
    const { resumable } = there.disks;
    const go = async (offset: number, until: number) => {
      const sink = await resumable.open('job-1.copy', { fileBytes, allocatedBytes, offset, origin });
      let at = offset;
      for await (const piece of file.pieces(work.signal, offset)) {
        const mine = typeof piece === 'number' ? Math.min(piece, until - at) : piece.subarray(0, until - at);
        await (typeof mine === 'number' ? sink.skip(mine) : sink.write(mine));
        at += typeof mine === 'number' ? mine : mine.length;
      }
      return sink;
    };
    await (await go(0, half)).close();
    expect(await resumable.find('job-1.copy')).toMatchObject({ receivedBytes: half, origin, whole: false });
    // written, but not known to be on disk: as when this agent is killed
    await appendFile(join(there.dir, 'uploads', 'job-1.copy.coming'), 'more');
    expect(await resumable.find('job-1.copy')).toMatchObject({ receivedBytes: half });
    const sink = await go(half, fileBytes);
    const path = here.disks.volumePath('volume-1', false);
    await sink.finish((await execa('sha256sum', [path])).stdout.slice(0, 64), work.signal);
    expect(await resumable.find('job-1.copy')).toMatchObject({ receivedBytes: fileBytes, whole: true });
    const staged = await there.disks.work.staged('job-1.copy');
    const { ino } = await stat(staged.ownPath!);
    await there.disks.work.install(spec({ imageDigest }), staged, work);
    await there.disks.removeUpload('job-1.copy');
    const to = there.disks.volumePath('volume-1', false);
    expect(await stat(to)).toMatchObject({ ino, uid: 0, mode: 0o100600 });
    const info = JSON.parse((await execa('qemu-img', ['info', '--output=json', to])).stdout) as object;
    expect(info).toMatchObject({ 'backing-filename': there.disks.imagePath(imageDigest) });
    for (const pattern of ['7 5M 1M', '5 0 1M'])
      expect((await execa('qemu-io', ['-f', 'qcow2', '-c', `read -P ${pattern}`, to])).stdout).not.toMatch(/failed/);
    expect(await readdir(join(there.dir, 'uploads'))).toEqual(['u', 'u.json']);
    await expect(there.disks.work.staged('job-1.copy')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('become a file that rests on nothing, also out of a pool, which is whole elsewhere, and leave no other', async () => {
    const [here, there] = [hosts[0]!, hosts[1]!];
    const imageDigest = await image(here.disks);
    const backing = here.disks.imagePath(imageDigest);
    await here.disks.work.make({ ...spec({ imageDigest }), ...usual } as never, work);
    const pooled = join(here.dir, 'volume-2.qcow2');
    await writeFile(pooled, emptyQcow2(64 * MIB, backing), { mode: 0o600 });
    for (const path of [here.disks.volumePath('volume-1', false), pooled])
      await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 1M', path]);
    const file = { volumeId: 'volume-2', path: pooled, format: 'qcow2', sizeBytes: 64 * MIB, backing } as const;
    const pieces = async function* (signal: AbortSignal) {
      for await (const bytes of here.disks.blocks.readFile(file, signal)) yield* piecesOf(bytes);
    };
    await here.disks.work.export('own', 'volume-1', 'qcow2', work);
    await here.disks.blocks.exportDisk('pooled', { ...file, pieces }, 'qcow2', work);
    expect(await readdir(join(here.dir, 'staging'))).toEqual([]);
    for (const id of ['own', 'pooled']) {
      const { ownPath: _, ...sent } = await here.disks.work.staged(id);
      await there.disks.work.install(spec({ volumeId: `volume-${id}` }) as never, sent, work);
      const path = there.disks.volumePath(`volume-${id}`, false);
      const info = JSON.parse((await execa('qemu-img', ['info', '--output=json', path])).stdout) as object;
      expect(info).not.toHaveProperty('backing-filename');
      for (const pattern of ['5 0 1M', '0 1M 4M', '7 5M 1M', '0 6M 58M'])
        expect((await execa('qemu-io', ['-f', 'qcow2', '-c', `read -P ${pattern}`, path])).stdout).not.toMatch(
          /failed/,
        );
    }
  });

  it('tell of each write to them', async () => {
    const { disks } = hosts[0]!;
    await disks.work.make({ ...spec({ format: 'raw' }), ...usual } as never, work);
    const { origin } = await disks.work.read('volume-1');
    expect((await disks.work.read('volume-1')).origin).toBe(origin);
    const path = disks.volumePath('volume-1', false, 'raw');
    await execa('qemu-io', ['-f', 'raw', '-c', 'write -P 7 5M 1M', path]);
    expect((await disks.work.read('volume-1')).origin).not.toBe(origin);
  });

  it('read out of a pool with what is in their image, by the unprivileged user, whose file it is not afterwards', async () => {
    const { disks, dir } = hosts[0]!;
    const imageDigest = await image(disks);
    const path = join(dir, 'volume-2.qcow2');
    await writeFile(path, emptyQcow2(64 * MIB, disks.imagePath(imageDigest)), { mode: 0o600 });
    await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 5M 1M', path]);
    const about = { volumeId: 'volume-2', path, format: 'qcow2', sizeBytes: 64 * MIB } as const;
    const file = { ...about, backing: disks.imagePath(imageDigest) };
    const read = async (over: object): Promise<Buffer> => {
      const all: Uint8Array[] = [];
      for await (const piece of disks.blocks.readFile({ ...file, ...over }, work.signal)) all.push(piece);
      return Buffer.concat(all);
    };
    const held = await read({});
    expect([held.length, held[MIB - 1], held[5 * MIB], held[6 * MIB]]).toEqual([64 * MIB, 5, 7, 0]);
    expect(await stat(path)).toMatchObject({ uid: 0, gid: 0, mode: 0o100600 });
    await expect(read({ backing: undefined })).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    await expect(read({ sizeBytes: 32 * MIB })).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    await symlink(path, join(dir, 'link'));
    await expect(read({ path: join(dir, 'link') })).rejects.toThrow('it is no file');
  });

  it('raw, with their holes', async () => {
    const [here, there] = [hosts[0]!, hosts[1]!];
    await here.disks.work.make({ ...spec({ format: 'raw' }), ...usual } as never, work);
    await execa('qemu-io', ['-f', 'raw', '-c', 'write -P 7 5M 1M', here.disks.volumePath('volume-1', false, 'raw')]);
    await there.disks.work.install(spec({ format: 'raw' }) as never, await here.disks.work.read('volume-1'), work);
    const path = there.disks.volumePath('volume-1', false, 'raw');
    const about = await stat(path);
    expect([about.size, about.blocks * 512 < 2 * MIB]).toEqual([64 * MIB, true]);
    expect((await execa('qemu-io', ['-f', 'raw', '-c', 'read -P 7 5M 1M', path])).stdout).not.toMatch(/failed/);
  });

  it('are refused when they name another file, have another size, or do not all come; and nothing stays', async () => {
    const { disks, dir } = hosts[0]!;
    const data = emptyQcow2(64 * MIB);
    data.writeBigUInt64BE(4n, 72);
    const cut: VolumeFile = { ...fileOf(emptyQcow2(64 * MIB)), fileBytes: 10 * MIB };
    for (const [file, why] of [
      [fileOf(emptyQcow2(64 * MIB, '/etc/shadow')), /refers to \/etc\/shadow/],
      [fileOf(data), /has features that Berth does not use/],
      [fileOf(emptyQcow2(32 * MIB)), /is a disk of 33554432 bytes/],
      [fileOf(Buffer.alloc(64 * MIB)), /is not a qcow2 file/],
      [cut, /bytes of a disk came/],
    ] as const)
      await expect(disks.work.install(spec({}) as never, file, work)).rejects.toThrow(why);
    const imageDigest = await image(disks);
    const other = fileOf(emptyQcow2(64 * MIB));
    await expect(disks.work.install(spec({ imageDigest }), other, work)).rejects.toThrow('rests on no other');
    const aborted = { ...work, signal: AbortSignal.abort(new Error('enough')) };
    await expect(disks.work.install(spec({}) as never, fileOf(emptyQcow2(64 * MIB)), aborted)).rejects.toThrow(
      'enough',
    );
    expect(await files(dir)).toEqual([]);
    await expect(disks.work.read('volume-9')).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });
});
