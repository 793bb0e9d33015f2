import { execa } from 'execa';
import { chmod, mkdir, readdir, stat, symlink, rename, writeFile, open } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { createDisks } from '../../disks.ts';
import type { LongWork } from '../../../disks.ts';
import type { AllDisks } from '../../../volume-work.ts';
import { describeReal, tempDir } from '../../fixture/real.ts';

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const work: LongWork = { signal: new AbortController().signal, onProgress: () => undefined };
const usual = { preallocation: 'off', clusterBytes: 65_536, lazyRefcounts: false } as const;

interface Info {
  readonly 'virtual-size': number;
  readonly 'cluster-size': number;
  readonly 'actual-size': number;
  readonly format: string;
  readonly 'format-specific'?: { readonly data: { readonly 'lazy-refcounts': boolean } };
}

describeReal('real volumes', ['qemu-img', 'qemu-nbd', 'qemu-io'], () => {
  let dir: string;
  let disks: AllDisks;
  beforeEach(async () => {
    dir = join(tempDir(), 'pool');
    await mkdir(dir);
    await chmod(dir, 0o711);
    disks = createDisks({
      dataDir: dir,
      unprivilegedUser: 'nobody',
      clock: systemClock,
      log: createLog('test', 'silent'),
    });
  });
  const spec = (id: string, over: object = {}) => ({
    ...{ volumeId: id, vmId: '', imageDigest: undefined, sizeBytes: 64 * MIB },
    ...usual,
    ...over,
  });
  const info = async (id: string, format: 'qcow2' | 'raw' = 'qcow2'): Promise<Info> => {
    const path = disks.volumePath(id, false, format);
    return JSON.parse((await execa('qemu-img', ['info', '--output=json', '-f', format, path])).stdout) as Info;
  };
  const write = (id: string, at: string, format: 'qcow2' | 'raw' = 'qcow2') =>
    execa('qemu-io', ['-f', format, '-c', `write -P 7 ${at} 64k`, disks.volumePath(id, false, format)]);
  const down = (id: string, sizeBytes: number) => disks.work.resize(id, sizeBytes, { shrink: true }, work);

  it('are made as they are asked for: cluster size, lazy counts, preallocation; and once', async () => {
    const made = spec('volume-1', { clusterBytes: 2 * MIB, lazyRefcounts: true });
    await Promise.all([disks.work.make(made, work), disks.work.make(made, work)]);
    expect(await info('volume-1')).toMatchObject({
      ...{ 'cluster-size': 2 * MIB, 'virtual-size': 64 * MIB },
      'format-specific': { data: { 'lazy-refcounts': true } },
    });
    await disks.work.make(spec('volume-2', { preallocation: 'falloc', format: 'raw' }), work);
    expect((await stat(disks.volumePath('volume-2', false, 'raw'))).blocks * 512).toBeGreaterThanOrEqual(64 * MIB);
    await disks.work.make(spec('volume-3', { preallocation: 'metadata' }), work);
    expect(await disks.listVolumes()).toMatchObject([{ vmId: '' }, { format: 'raw' }, { sizeBytes: 64 * MIB }]);
  });

  it.each([
    [{ preallocation: 'metadata', format: 'raw' }, 'INVALID_ARGUMENT'],
    [{ clusterBytes: 1000 }, 'INVALID_ARGUMENT'],
    [{ preallocation: 'full', sizeBytes: 2 ** 45 }, 'DISK_FULL'],
  ])('that cannot be are refused and leave nothing: %j', async (over, reason) => {
    await expect(disks.work.make(spec('volume-1', over) as never, work)).rejects.toMatchObject({ reason });
    expect(await readdir(join(dir, 'volumes'))).toEqual([]);
  });

  it.each(['qcow2', 'raw'] as const)('grow, and shrink as far as nothing is cut off: %s', async (format) => {
    await disks.work.make(spec('volume-1', { format }), work);
    await write('volume-1', '40M', format);
    await disks.work.resize('volume-1', GIB, { shrink: false }, work);
    await disks.work.resize('volume-1', GIB, { shrink: false }, work);
    expect((await info('volume-1', format))['virtual-size']).toBe(GIB);
    await expect(disks.work.resize('volume-1', 64 * MIB, { shrink: false }, work)).rejects.toThrow('--shrink');
    await expect(down('volume-1', 32 * MIB)).rejects.toThrow(/there is data up to 40 MiB/);
    expect((await info('volume-1', format))['virtual-size']).toBe(GIB);
    await down('volume-1', 48 * MIB);
    expect(await disks.findVolume('volume-1')).toMatchObject({ sizeBytes: 48 * MIB });
    expect((await stat(disks.volumePath('volume-1', false, format))).uid).toBe(0);
  });

  it('does not cut off a partition, though nothing is written in it', async () => {
    await disks.work.make(spec('volume-1', { format: 'raw' }), work);
    const table = Buffer.alloc(512);
    table[450] = 0x83;
    table.writeUInt32LE(2048, 454);
    table.writeUInt32LE((50 * MIB) / 512, 458);
    table.writeUInt16LE(0xaa55, 510);
    const file = await open(disks.volumePath('volume-1', false, 'raw'), 'r+');
    await file.write(table, 0, 512, 0);
    await file.close();
    await expect(down('volume-1', 32 * MIB)).rejects.toThrow(/its last partition ends at 51 MiB/);
    await down('volume-1', 52 * MIB);
  });

  it('with a file that somebody changed are left alone: another backing file, a data file, a link to elsewhere', async () => {
    const secret = join(tempDir(), 'secret');
    await writeFile(secret, Buffer.alloc(64 * MIB, 's'));
    await disks.work.make(spec('volume-1'), work);
    const path = disks.volumePath('volume-1', false);
    const reaches = async (): Promise<string> =>
      down('volume-1', 32 * MIB).then(
        () => 'done',
        (e: Error) => e.message,
      );
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-u', '-b', secret, '-F', 'raw', path, '64M']);
    expect(await reaches()).toMatch(/refers to .*secret/);
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${secret}.d`, path, '64M']);
    expect(await reaches()).toMatch(/refers to .*secret/);
    await rename(path, `${path}.gone`);
    await symlink(secret, path);
    expect(await reaches()).toMatch(/symbolic link|is not a qcow2|not on this host/);
    expect((await stat(secret)).uid).toBe(process.getuid?.());
  });
});
