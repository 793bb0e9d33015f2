import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { expect, it, vi } from 'vitest';
import type { Disks } from '../disks.ts';
import { createDisks } from './disks.ts';
import { connectNbd } from './disks/nbd-client.ts';
import { createPool } from './disks/pool.ts';
import { accepts, createHelpers } from './helpers.ts';
import { describeReal, exec, stopHelpers, tempDir, work } from './fixture/real.ts';

const log = createLog('test', 'silent');
const MIB = 2 ** 20;

function start(dataDir = join(tempDir(), 'd')): { disks: Disks; dataDir: string } {
  return { disks: createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log }), dataDir };
}

async function upload(disks: Disks, id: string, file: string): Promise<void> {
  const bytes = await readFile(file);
  const sink = await disks.openUpload(id, bytes.length);
  for (let at = 0; at < bytes.length; at += MIB) await sink.write(bytes.subarray(at, at + MIB));
  await sink.finish();
}

/** Files that are left in the pool, folders of helpers aside. */
const litter = (dataDir: string, ...dirs: string[]): string[] =>
  dirs.flatMap((d) => readdirSync(join(dataDir, d)).map((n) => `${d}/${n}`));

/** A raw disk with a file system's mark and some data in it. */
async function makeRaw(dir: string, seed = 1): Promise<string> {
  const bytes = Buffer.alloc(9 * MIB);
  bytes.write('\x53\xef', 0x438, 'latin1');
  for (let i = 0; i < 500; i++) bytes.writeUInt32LE(i * seed, 5 * MIB + i * 4);
  const path = join(dir, `disk-${seed}.raw`);
  await writeFile(path, bytes);
  return path;
}

async function makeQcow2(dir: string, ...options: string[]): Promise<string> {
  const path = join(dir, 'disk.qcow2');
  await exec.run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...options, await makeRaw(dir), path]);
  return path;
}

async function imported(disks: Disks, dir: string, seed = 1): Promise<string> {
  await upload(disks, `u${seed}`, await makeRaw(dir, seed));
  return (await disks.importImage(`u${seed}`, '', work)).digest;
}

describeReal('importing an image', ['qemu-img', 'qemu-nbd'], () => {
  it('stores a conversion of our own, owned by root and read-only, and keeps the upload', async () => {
    const { disks, dataDir } = start();
    const file = await makeQcow2(tempDir(), '-c');
    await upload(disks, 'job-1.upload', file);
    expect(await disks.hasUpload('job-1.upload')).toBe(true);
    const progress: number[] = [];
    const image = await disks.importImage('job-1.upload', '', { ...work, onProgress: (d, t) => progress.push(d / t) });
    expect(image.virtualSizeBytes).toBe(9 * MIB);
    expect(image.sourceDigest).toBe((await exec.run('sha256sum', [file])).stdout.slice(0, 64));
    const { mode, uid } = statSync(join(dataDir, 'images', `${image.digest.slice(7)}.qcow2`));
    expect([mode & 0o777, uid]).toEqual([0o444, 0]);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
    expect(await disks.hasUpload('job-1.upload')).toBe(true);
    expect(litter(dataDir, 'staging', 'run')).toEqual([]);
    const { fileBytes, digest, virtualSizeBytes } = image;
    expect(await disks.listImages()).toEqual([{ digest, virtualSizeBytes, fileBytes }]);
  });

  it('gives the same digest to raw, plain and compressed forms of one disk, and keeps one', async () => {
    const { disks, dataDir } = start();
    const dir = tempDir();
    const forms = [
      await makeRaw(dir),
      await makeQcow2(tempDir()),
      await makeQcow2(tempDir(), '-c', '-o', 'compat=0.10'),
    ];
    const digests = new Set<string>();
    for (const [i, file] of forms.entries()) {
      await upload(disks, `u${i}`, file);
      digests.add((await disks.importImage(`u${i}`, '', work)).digest);
    }
    expect(digests.size).toBe(1);
    expect(litter(dataDir, 'images').length).toBe(3);
  });

  it('drops internal snapshots', async () => {
    const { disks, dataDir } = start();
    const file = await makeQcow2(tempDir());
    await exec.run('qemu-img', ['snapshot', '-c', 'before', file]);
    await upload(disks, 'u', file);
    const { digest } = await disks.importImage('u', '', work);
    const { stdout } = await exec.run('qemu-img', [
      'snapshot',
      '-l',
      join(dataDir, 'images', `${digest.slice(7)}.qcow2`),
    ]);
    expect(stdout).toBe('');
  });

  const evil: Record<string, [make: (dir: string) => Promise<string>, words: RegExp]> = {
    'a backing file': [
      async (dir) => {
        await exec.run('qemu-img', [
          'create',
          '-q',
          '-f',
          'qcow2',
          '-u',
          '-b',
          '/etc/shadow',
          '-F',
          'raw',
          join(dir, 'e'),
          '1M',
        ]);
        return join(dir, 'e');
      },
      /^the uploaded file refers to another file \(\/etc\/shadow\) as its backing file\. /,
    ],
    'an external data file': [
      async (dir) => {
        await exec.run('qemu-img', [
          'create',
          '-q',
          '-f',
          'qcow2',
          '-o',
          `data_file=${dir}/data`,
          join(dir, 'e'),
          '1M',
        ]);
        return join(dir, 'e');
      },
      /^the uploaded file keeps its data in another file \(.*\/data\)\. /,
    ],
    'a virtual size of a petabyte': [
      async (dir) => {
        await exec.run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', 'cluster_size=2M', join(dir, 'e'), '1024T']);
        return join(dir, 'e');
      },
      /claims a virtual size of 1 PiB; Berth takes disks of at most 64 TiB/,
    ],
    encryption: [
      async (dir) => {
        const file = await makeQcow2(dir);
        const bytes = await readFile(file);
        bytes.writeUInt32BE(2, 32);
        await writeFile(file, bytes);
        return file;
      },
      /^the uploaded file is encrypted\. /,
    ],
    'its end cut off': [
      async (dir) => {
        const file = await makeQcow2(dir);
        await truncate(file, statSync(file).size - 65_536);
        return file;
      },
      /^the uploaded file is truncated: its data lies beyond the end of the file/,
    ],
    'nothing but text': [
      async (dir) => {
        await writeFile(join(dir, 'notes.txt'), 'Buy milk.\n'.repeat(100));
        return join(dir, 'notes.txt');
      },
      /^the uploaded file is not a disk image \(it looks like text\)\. Known: /,
    ],
    'no partition table': [
      async (dir) => {
        await writeFile(join(dir, 'noise'), Buffer.alloc(MIB, 'x\0'));
        return join(dir, 'noise');
      },
      /can be imported with --format raw/,
    ],
  };
  for (const [what, [make, words]] of Object.entries(evil))
    it(`refuses a file with ${what}, in words, and stores nothing`, async () => {
      const { disks, dataDir } = start();
      await upload(disks, 'u', await make(tempDir()));
      const refused = disks.importImage('u', '', work);
      await expect(refused).rejects.toMatchObject({
        reason: 'UNSAFE_IMAGE',
        message: expect.stringMatching(words) as string,
      });
      expect(litter(dataDir, 'images', 'staging', 'run')).toEqual([]);
      await disks.removeUpload('u');
      expect(litter(dataDir, 'uploads')).toEqual([]);
    });

  it('takes a raw disk without partition table when told so', async () => {
    const { disks } = start();
    await writeFile(join(tempDir(), 'noise'), '');
    const file = join(tempDir(), 'noise');
    await writeFile(file, Buffer.alloc(MIB + 100, 'x\0'));
    await upload(disks, 'u', file);
    expect(await disks.importImage('u', 'raw', work)).toMatchObject({ virtualSizeBytes: MIB + 512 });
  });

  it('says NOT_FOUND without an upload, and can be cancelled', async () => {
    const { disks, dataDir } = start();
    await expect(disks.importImage('nothing', '', work)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    await expect(disks.importImage('../../etc/passwd', '', work)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    await upload(disks, 'u', await makeRaw(tempDir()));
    const stop = new AbortController();
    const cancelled = disks.importImage('u', '', { signal: stop.signal, onProgress: () => stop.abort() });
    await expect(cancelled).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(litter(dataDir, 'staging', 'images', 'run')).toEqual([]);
    expect(await disks.hasUpload('u')).toBe(true);
  });
});

describeReal('an upload', [], () => {
  it('must be as long as announced', async () => {
    const { disks, dataDir } = start();
    const short = await disks.openUpload('u', 10);
    await short.write(Buffer.alloc(4));
    await expect(short.finish()).rejects.toThrow(/4 of the announced 10 bytes came/);
    await short.abort();
    const long = await disks.openUpload('u', 10);
    await expect(long.write(Buffer.alloc(11))).rejects.toThrow(/more than the announced 10 bytes/);
    await long.abort();
    await long.abort();
    expect(litter(dataDir, 'uploads')).toEqual([]);
    expect(await disks.hasUpload('u')).toBe(false);
  });

  it('that cannot fit is refused before its first byte, with what is needed and what there is', async () => {
    const { disks, dataDir } = start();
    await expect(disks.openUpload('u', 2 ** 52)).rejects.toMatchObject({
      reason: 'DISK_FULL',
      message: expect.stringMatching(/^no room for the upload: 4 PiB needed, .* free in \//) as string,
    });
    await expect(disks.openUpload('u', -1)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(litter(dataDir, 'uploads')).toEqual([]);
  });

  it('of a sparse file needs room for its data only, lies there as sparse as it was, and so does the image', async () => {
    const { disks, dataDir } = start();
    const size = 2 ** 43;
    await expect(disks.openUpload('u', size)).rejects.toMatchObject({ reason: 'DISK_FULL' });
    const sink = await disks.openUpload('u', size, 2 * MIB);
    await sink.skip(size / 2);
    await sink.write(Buffer.alloc(MIB, 7));
    await sink.skip(size / 2 - MIB);
    await sink.finish();
    const staged = await stat(join(dataDir, 'uploads', 'u'));
    expect([staged.size, staged.blocks * 512 <= 2 * MIB]).toEqual([size, true]);
    const stop = new AbortController();
    const hashing = disks.importImage('u', 'raw', { signal: stop.signal, onProgress: () => undefined });
    setTimeout(() => stop.abort(), 50);
    await expect(hashing).rejects.toMatchObject({ reason: 'CANCELLED' }); // 8 TiB of zeros
    await disks.removeUpload('u');
  });

  it('that broke off does not disturb the next try', async () => {
    const { disks } = start();
    const lost = await disks.openUpload('u', 4);
    await lost.write(Buffer.from('xx'));
    const next = await disks.openUpload('u', 4);
    await next.write(Buffer.from('good'));
    await next.finish();
    await lost.abort();
    expect(await disks.hasUpload('u')).toBe(true);
  });
});

describeReal('volumes', ['qemu-img', 'qemu-nbd'], () => {
  it('are overlays on an image, made once however often asked, and listed with owner, size and room', async () => {
    const { disks, dataDir } = start();
    const imageDigest = await imported(disks, tempDir());
    const spec = { volumeId: 'volume-1', vmId: 'vm-1', imageDigest, sizeBytes: 20 * MIB };
    await Promise.all([disks.ensureVolume(spec), disks.ensureVolume(spec)]);
    const before = statSync(disks.volumePath('volume-1', false)).ino;
    await disks.ensureVolume(spec);
    expect(statSync(disks.volumePath('volume-1', false)).ino).toBe(before);
    const [seen, ...others] = await disks.listVolumes();
    expect(others).toEqual([]);
    expect(seen).toMatchObject({ ...spec, seed: false });
    expect(seen?.allocatedBytes).toBeLessThan(MIB);
    const { stdout } = await exec.run('qemu-img', ['info', '--output=json', disks.volumePath('volume-1', false)]);
    expect(JSON.parse(stdout)).toMatchObject({
      'backing-filename': join(dataDir, 'images', `${imageDigest.slice(7)}.qcow2`),
      'backing-filename-format': 'qcow2',
      'virtual-size': 20 * MIB,
    });
  });

  it('with another parent, size or owner are refused', async () => {
    const { disks } = start();
    const dir = tempDir();
    const [imageDigest, other] = [await imported(disks, dir), await imported(disks, dir, 2)];
    const spec = { volumeId: 'v', vmId: 'vm-1', imageDigest, sizeBytes: 20 * MIB };
    await disks.ensureVolume(spec);
    for (const change of [
      { imageDigest: other },
      { sizeBytes: 21 * MIB },
      { vmId: 'vm-2' },
      { imageDigest: undefined },
    ])
      await expect(disks.ensureVolume({ ...spec, ...change })).rejects.toMatchObject({ reason: 'ALREADY_EXISTS' });
  });

  it('smaller than the image, of an absurd size, on a missing image or with a path for a name are refused and leave nothing', async () => {
    const { disks, dataDir } = start();
    const imageDigest = await imported(disks, tempDir());
    const spec = { volumeId: 'v', vmId: 'vm-1', imageDigest, sizeBytes: 20 * MIB };
    await expect(disks.ensureVolume({ ...spec, sizeBytes: MIB })).rejects.toThrow(
      'a disk of 1 MiB is smaller than its image (9 MiB); ask for that or more',
    );
    for (const sizeBytes of [-1, 0, 1_000, 2 ** 52, Number.NaN])
      await expect(disks.ensureVolume({ ...spec, sizeBytes })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    const absent = { ...spec, imageDigest: `sha256:${'0'.repeat(64)}` };
    await expect(disks.ensureVolume(absent)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
    for (const volumeId of ['../v', 'a/b', '', '.hidden', 'x'.repeat(200)])
      await expect(disks.ensureVolume({ ...spec, volumeId })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect(litter(dataDir, 'volumes')).toEqual([]);
  });

  it('can be raw: sparse, of the very size, and still there after a restart of the agent', async () => {
    const { disks, dataDir } = start();
    const spec = { volumeId: 'v', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 30, format: 'raw' as const };
    await disks.ensureVolume(spec);
    const file = statSync(disks.volumePath('v', false, 'raw'));
    expect([file.size, file.blocks < 100, file.mode & 0o777]).toEqual([2 ** 30, true, 0o600]);
    const again = createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log });
    expect(await again.listVolumes()).toMatchObject([spec]);
    await again.removeVolume('v');
    expect(litter(dataDir, 'volumes')).toEqual([]);
  });

  it('can be blank; removing twice is once', async () => {
    const { disks, dataDir } = start();
    await disks.ensureVolume({ volumeId: 'v', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 40 });
    expect(await disks.listVolumes()).toMatchObject([{ volumeId: 'v', imageDigest: undefined, sizeBytes: 2 ** 40 }]);
    expect(statSync(disks.volumePath('v', false)).mode & 0o777).toBe(0o600);
    await disks.removeVolume('v');
    await disks.removeVolume('v');
    expect(litter(dataDir, 'volumes')).toEqual([]);
  });

  it('keep their image from being removed', async () => {
    const { disks, dataDir } = start();
    const imageDigest = await imported(disks, tempDir());
    await disks.ensureVolume({ volumeId: 'v', vmId: 'vm-7', imageDigest, sizeBytes: 9 * MIB });
    await expect(disks.removeImage(imageDigest)).rejects.toMatchObject({
      reason: 'IN_USE',
      message: expect.stringContaining('volume v of vm-7') as string,
    });
    await disks.removeVolume('v');
    await disks.removeImage(imageDigest);
    await disks.removeImage(imageDigest);
    expect(litter(dataDir, 'images')).toEqual([]);
  });

  it('that are seeds carry their files under the label that cloud-init looks for', async () => {
    const { disks, dataDir } = start();
    const spec = {
      volumeId: 's',
      vmId: 'vm-1',
      files: { 'meta-data': 'instance-id: vm-1\n', 'user-data': '#cloud-config\n' },
    };
    await disks.ensureSeed(spec);
    await disks.ensureSeed(spec);
    const iso = await readFile(disks.volumePath('s', true));
    expect(iso.toString('latin1', 0x8028, 0x8028 + 6)).toBe('cidata');
    expect(iso.includes('instance-id: vm-1')).toBe(true);
    expect(iso.includes(Buffer.from('user-data', 'utf16le').swap16())).toBe(true);
    expect(statSync(disks.volumePath('s', true)).mode & 0o777).toBe(0o600);
    expect(await disks.listVolumes()).toMatchObject([
      { volumeId: 's', vmId: 'vm-1', seed: true, imageDigest: undefined },
    ]);
    await expect(disks.ensureSeed({ ...spec, files: { 'meta-data': 'x' } })).rejects.toMatchObject({
      reason: 'ALREADY_EXISTS',
    });
    await expect(disks.ensureSeed({ ...spec, volumeId: 't', files: { '../x': 'x' } })).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    await disks.removeVolume('s');
    expect(litter(dataDir, 'volumes', 'staging')).toEqual([]);
  });
});

describeReal('serving an image', ['qemu-img', 'qemu-nbd'], () => {
  const read = async (socketPath: string): Promise<Buffer> => {
    const nbd = await connectNbd({ socketPath, exportName: '', clock: systemClock });
    return nbd.read(5 * MIB, 512).finally(() => nbd.close());
  };

  it('happens once, to many readers, by a process that may do nothing else', async () => {
    const { disks, dataDir } = start();
    const digest = await imported(disks, tempDir());
    const [a, b] = await Promise.all([disks.serveImage(digest), disks.serveImage(digest)]);
    expect(a).toBe(b);
    expect((await Promise.all([read(a), read(a)])).map((d) => d.readUInt32LE(8))).toEqual([2, 2]);
    const pool = createPool(dataDir);
    const pids = await createHelpers({ exec, pool, clock: systemClock }).find(readdirSync(pool.runDir)[0] ?? '');
    const users = await Promise.all(
      pids.map(async (p) => /^Uid:\t(\d+)/m.exec(await readFile(`/proc/${p}/status`, 'utf8'))?.[1]),
    );
    // the parent that holds the namespaces, and qemu-nbd
    expect(users.sort()).toEqual(['0', '65534']);
  });

  it('goes on while the agent restarts, is taken over, and ends with the image', async () => {
    const { disks, dataDir } = start();
    const digest = await imported(disks, tempDir());
    const socketPath = await disks.serveImage(digest);
    const nbd = await connectNbd({ socketPath, exportName: '', clock: systemClock });
    const again = start(dataDir).disks;
    expect(await again.serveImage(digest)).toBe(socketPath);
    expect((await nbd.read(5 * MIB, 512)).readUInt32LE(8)).toBe(2);
    nbd.close();
    await again.removeImage(digest);
    expect(existsSync(socketPath)).toBe(false);
    await expect(again.serveImage(digest)).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('starts again after its process was killed', async () => {
    const { disks, dataDir } = start();
    const digest = await imported(disks, tempDir());
    const pool = createPool(dataDir);
    const socketPath = await disks.serveImage(digest);
    const name = readdirSync(pool.runDir)[0] ?? '';
    const helpers = createHelpers({ exec, pool, clock: systemClock });
    for (const pid of await helpers.find(name)) process.kill(pid, 'SIGKILL');
    await vi.waitFor(async () => expect(await helpers.find(name)).toEqual([]));
    // a process that ends loses its command line before its sockets
    await vi.waitFor(async () => expect(await accepts(socketPath)).toBe(false));
    expect(await disks.serveImage(digest)).toBe(socketPath);
    expect((await read(socketPath)).readUInt32LE(8)).toBe(2);
    await stopHelpers(dataDir);
  });
});

describeReal('serial logs', [], () => {
  it('are read in pieces and removed with what was rotated away', async () => {
    const { disks, dataDir } = start();
    await disks.capacity();
    const none = { data: new Uint8Array(), position: '', gap: false };
    expect(await disks.readSerialLog('vm-1', { lastBytes: 100 }, 100)).toEqual(none);
    for (const name of ['vm-1.log', 'vm-1.log.0', 'vm-1.log.1', 'vm-11.log'])
      await writeFile(join(dataDir, 'serial', name), 'hello world');
    const part = await disks.readSerialLog('vm-1', { lastBytes: 5 }, 3);
    expect(Buffer.from(part.data).toString()).toBe('wor');
    const rest = await disks.readSerialLog('vm-1', { position: part.position }, 100);
    expect(Buffer.from(rest.data).toString()).toBe('ld');
    await disks.removeSerialLog('vm-1');
    expect(litter(dataDir, 'serial')).toEqual(['serial/vm-11.log']);
  });
});
