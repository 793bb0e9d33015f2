import { execa } from 'execa';
import { chmod, chown, link, mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { describeReal, exec, tempDir } from '../../fixture/real.ts';
import { createDisks } from '../../disks.ts';
import type { LongWork } from '../../../disks.ts';
import type { AllDisks } from '../../../volume-work.ts';

const MIB = 2 ** 20;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const usual = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;

describeReal('real volumes written anew', ['qemu-img', 'qemu-nbd', 'qemu-io'], () => {
  let dir: string;
  let disks: AllDisks;
  const begin = (): AllDisks =>
    createDisks({ dataDir: dir, unprivilegedUser: 'nobody', clock: systemClock, log: createLog('test', 'silent') });
  beforeEach(async () => {
    dir = join(tempDir(), 'pool');
    await mkdir(dir);
    await chmod(dir, 0o711);
    disks = begin();
  });
  const path = (id: string, format: 'qcow2' | 'raw' = 'qcow2'): string => disks.volumePath(id, false, format);
  const make = (id: string, over: object = {}) =>
    disks.work.make(
      { volumeId: id, vmId: '', imageDigest: undefined, sizeBytes: 64 * MIB, ...usual, ...over } as never,
      work,
    );
  const io = (id: string, command: string, format: 'qcow2' | 'raw' = 'qcow2') =>
    execa('qemu-io', ['-f', format, '-c', command, path(id, format)]);
  const holds = async (id: string, pattern: string, format: 'qcow2' | 'raw' = 'qcow2'): Promise<boolean> =>
    !(await io(id, `read -P ${pattern}`, format)).stdout.includes('verification failed');
  const image = async (): Promise<string> => {
    const disk = Buffer.alloc(8 * MIB);
    disk.fill(5, 0, MIB);
    const sink = await disks.openUpload('u', disk.length);
    await sink.write(disk);
    await sink.finish();
    return (await disks.importImage('u', 'raw', work)).digest;
  };
  const rewrite = (format: 'qcow2' | 'raw', imageDigest?: string, how = work) =>
    disks.work.rewrite('volume-1', { format, imageDigest, ifOther: false }, how);
  const files = async (): Promise<string[]> => (await readdir(join(dir, 'volumes'))).sort();

  it('hold the same in the other format and back, and no other file is left', async () => {
    await make('volume-1', { clusterBytes: 131_072 });
    await io('volume-1', 'write -P 7 5M 1M');
    await rewrite('raw');
    expect(await files()).toEqual(['volume-1.json', 'volume-1.raw']);
    expect(await holds('volume-1', '7 5M 1M', 'raw')).toBe(true);
    expect(await stat(path('volume-1', 'raw'))).toMatchObject({ size: 64 * MIB, uid: 0, mode: 0o100600 });
    await rewrite('qcow2');
    expect(await files()).toEqual(['volume-1.json', 'volume-1.qcow2']);
    expect([await holds('volume-1', '7 5M 1M'), await holds('volume-1', '0 6M 1M')]).toEqual([true, true]);
    expect(await readdir(join(dir, 'staging'))).toEqual([]);
  });

  it.each(['vmdk', 'vdi', 'vhdx'] as const)(
    'are kept as %s for other programs, of any size, and come back as they were',
    async (format) => {
      const sizeBytes = 10 * MIB + 512;
      await make('volume-1', { sizeBytes });
      await io('volume-1', 'write -P 7 5M 1M');
      const to = (f: 'qcow2' | 'raw' | typeof format) =>
        disks.work.rewrite('volume-1', { format: f, imageDigest: undefined, ifOther: true }, work);
      await to(format);
      expect(await files()).toEqual(['volume-1.json', `volume-1.${format}`]);
      expect(await disks.findVolume('volume-1')).toMatchObject({ format, sizeBytes });
      const said = /kept as .*, which no vm runs with/;
      await expect(disks.work.assign('volume-1', { from: '', to: 'vm-1' })).rejects.toThrow(said);
      await expect(disks.work.resize('volume-1', 20 * MIB, { shrink: false }, work)).rejects.toThrow(said);
      await expect(disks.work.wipe('volume-1', work)).rejects.toThrow(said);
      await expect(disks.work.read('volume-1')).rejects.toThrow(said);
      expect((await disks.work.export('e', 'volume-1', 'qcow2', work)).fileBytes).toBeGreaterThan(MIB);
      // killed when both files were there
      await writeFile(path('volume-1', 'raw'), 'left');
      disks = begin();
      expect(await disks.findVolume('volume-1')).toMatchObject({ format, sizeBytes });
      expect(await files()).toEqual(['volume-1.json', `volume-1.${format}`]);
      for (const back of ['raw', format, 'qcow2'] as const) await to(back);
      expect(await files()).toEqual(['volume-1.json', 'volume-1.qcow2']);
      expect(await disks.findVolume('volume-1')).toMatchObject({ sizeBytes });
      expect([await holds('volume-1', '7 5M 1M'), await holds('volume-1', '0 6M 4M')]).toEqual([true, true]);
      await to(format);
      await disks.removeVolume('volume-1');
      expect(await files()).toEqual([]);
      await make('volume-2', { vmId: 'vm-1' });
      const ofVm = disks.work.rewrite('volume-2', { format, imageDigest: undefined, ifOther: true }, work);
      await expect(ofVm).rejects.toThrow(/belongs to vm-1: no vm runs with/);
    },
  );

  it('give back what zeros took, and stay overlays of their image; raw ones hold what was in it', async () => {
    const imageDigest = await image();
    await make('volume-1', { imageDigest });
    await io('volume-1', 'write -P 7 5M 1M');
    await io('volume-1', 'write -P 0 10M 20M');
    const before = (await stat(path('volume-1'))).blocks * 512;
    await rewrite('qcow2', imageDigest);
    expect((await stat(path('volume-1'))).blocks * 512).toBeLessThan(before - 19 * MIB);
    expect(await disks.findVolume('volume-1')).toMatchObject({ imageDigest, sizeBytes: 64 * MIB });
    const { stdout } = await execa('qemu-img', ['info', '--output=json', path('volume-1')]);
    expect(JSON.parse(stdout)).toMatchObject({ 'backing-filename': disks.imagePath(imageDigest) });
    expect([await holds('volume-1', '7 5M 1M'), await holds('volume-1', '5 0 1M')]).toEqual([true, true]);
    await rewrite('raw');
    expect([await holds('volume-1', '7 5M 1M', 'raw'), await holds('volume-1', '5 0 1M', 'raw')]).toEqual([true, true]);
    expect((await disks.findVolume('volume-1'))?.imageDigest).toBeUndefined();
    // back on its image, whatever was in it there
    await io('volume-1', 'write -P 0 0 512k', 'raw');
    await rewrite('qcow2', imageDigest);
    expect([await holds('volume-1', '0 0 512k'), await holds('volume-1', '5 512k 512k')]).toEqual([true, true]);
    expect([await holds('volume-1', '7 5M 1M'), await holds('volume-1', '0 10M 20M')]).toEqual([true, true]);
  });

  it('are overwritten where they lie, and blank, or their image again', async () => {
    const imageDigest = await image();
    await make('volume-1', { imageDigest });
    await io('volume-1', 'write -P 7 0 6M');
    await link(path('volume-1'), join(dir, 'old'));
    await disks.work.wipe('volume-1', work);
    expect((await readFile(join(dir, 'old'))).every((b) => b === 0)).toBe(true);
    expect(await holds('volume-1', '5 0 1M')).toBe(true);
    expect(await files()).toEqual(['volume-1.json', 'volume-1.qcow2']);
    await make('volume-2', { format: 'raw', preallocation: 'falloc' });
    await io('volume-2', 'write -P 7 1M 3M', 'raw');
    await link(path('volume-2', 'raw'), join(dir, 'raw'));
    await disks.work.wipe('volume-2', work);
    expect((await readFile(join(dir, 'raw'))).every((b) => b === 0)).toBe(true);
    expect(await holds('volume-2', '0 0 64M', 'raw')).toBe(true);
  });

  it('are overwritten to the end when the agent was killed in between', async () => {
    await make('volume-1');
    await io('volume-1', 'write -P 7 0 6M');
    await link(path('volume-1'), join(dir, 'volumes/.volume-1.wiping'));
    await link(path('volume-1'), join(dir, 'old'));
    disks = begin();
    expect(await holds('volume-1', '7 0 6M')).toBe(true);
    await disks.work.wipe('volume-1', work);
    expect((await readFile(join(dir, 'old'))).every((b) => b === 0)).toBe(true);
    // the blank one was in its place already, and has been written to
    await writeFile(join(dir, 'volumes/.volume-1.wiping'), Buffer.alloc(MIB, 9));
    await link(join(dir, 'volumes/.volume-1.wiping'), join(dir, 'older'));
    await io('volume-1', 'write -P 8 0 6M');
    await link(path('volume-1'), join(dir, 'newer'));
    await disks.work.wipe('volume-1', work);
    for (const name of ['older', 'newer']) expect((await readFile(join(dir, name))).every((b) => b === 0)).toBe(true);
    expect(await files()).toEqual(['volume-1.json', 'volume-1.qcow2']);
  });

  it('are left as they are, or are not there, when what was to be done was cancelled before it had its turn', async () => {
    const gone: LongWork = { signal: AbortSignal.abort(), onProgress: () => undefined };
    const cancelled = { reason: 'CANCELLED' };
    await make('volume-1');
    await make('volume-3', { format: 'raw' });
    await io('volume-1', 'write -P 7 0 6M');
    await expect(disks.work.wipe('volume-1', gone)).rejects.toMatchObject(cancelled);
    expect(await holds('volume-1', '7 0 6M')).toBe(true);
    // the agent was killed before the blank one was in its place
    await link(path('volume-1'), join(dir, 'volumes/.volume-1.wiping'));
    await expect(disks.work.wipe('volume-1', gone)).rejects.toMatchObject(cancelled);
    expect(await holds('volume-1', '7 0 6M')).toBe(true);
    await expect(disks.work.resize('volume-3', 128 * MIB, { shrink: false }, gone)).rejects.toMatchObject(cancelled);
    expect((await stat(path('volume-3', 'raw'))).size).toBe(64 * MIB);
    const spec = { volumeId: 'volume-2', vmId: '', imageDigest: undefined, sizeBytes: 64 * MIB, ...usual };
    await expect(disks.work.make(spec, gone)).rejects.toMatchObject(cancelled);
    expect(await files()).toEqual(['volume-1.json', 'volume-1.qcow2', 'volume-3.json', 'volume-3.raw']);
    await make('volume-2');
    await disks.work.make(spec, gone); // it is there
  });

  it('are the old ones until they are whole, whatever a crash leaves', async () => {
    await make('volume-1');
    await io('volume-1', 'write -P 7 0 1M');
    await writeFile(path('volume-1', 'raw'), 'half');
    await mkdir(join(dir, 'staging/rewrite-volume-1'));
    disks = begin();
    expect(await disks.listVolumes()).toMatchObject([{ volumeId: 'volume-1', sizeBytes: 64 * MIB }]);
    expect(await files()).toEqual(['volume-1.json', 'volume-1.qcow2']);
    expect(await holds('volume-1', '7 0 1M')).toBe(true);
    const cancelled = { ...work, signal: AbortSignal.abort() };
    await expect(rewrite('raw', undefined, cancelled)).rejects.toMatchObject({ reason: 'CANCELLED' });
    await expect(disks.work.wipe('volume-1', cancelled)).rejects.toThrow();
    await disks.removeVolume('volume-1');
    expect(await files()).toEqual([]);
  });

  it('are taken back from whom they were lent to when the agent was killed, those that are being overwritten too', async () => {
    for (const id of ['volume-1', 'volume-2', 'volume-3']) await make(id);
    const { uid, gid } = await exec.sandboxUser();
    const wiping = join(dir, 'volumes/.volume-1.wiping');
    await writeFile(wiping, 'x');
    for (const file of [path('volume-1'), wiping]) await chown(file, uid, gid);
    // lent to a group, as while a guest is changed; and one that is QEMU's
    await chown(path('volume-2'), 64_055, gid);
    await chmod(path('volume-2'), 0o660);
    await chown(path('volume-3'), 64_055, 64_055);
    disks = begin();
    expect(await disks.listVolumes()).toHaveLength(3);
    const root = { uid: 0, gid: 0, mode: 0o100600 };
    for (const file of [path('volume-1'), wiping]) expect(await stat(file)).toMatchObject(root);
    expect(await stat(path('volume-2'))).toMatchObject({ uid: 64_055, gid: 0, mode: 0o100600 });
    expect(await stat(path('volume-3'))).toMatchObject({ uid: 64_055, gid: 64_055 });
  });

  it('that refer to another file are refused', async () => {
    await make('volume-1');
    await writeFile(join(dir, 'secret'), Buffer.alloc(MIB, 6));
    await execa('qemu-img', ['rebase', '-u', '-b', join(dir, 'secret'), '-F', 'raw', path('volume-1')]);
    for (const format of ['raw', 'qcow2'] as const)
      await expect(rewrite(format)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    await expect(disks.work.wipe('volume-1', work)).rejects.toMatchObject({ reason: 'UNSAFE_IMAGE' });
    const file = await open(join(dir, 'secret'));
    expect((await file.read(Buffer.alloc(1), 0, 1, 0)).buffer[0]).toBe(6);
    await file.close();
  });
});
