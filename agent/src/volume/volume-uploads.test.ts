/** Files that become volumes, on a host with real disks: broken off, gone on with, wrong, evil, sparse, too large; and agents that die. */
import { execa } from 'execa';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { Piece } from '@berth/shared/disk/pieces.ts';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { createDisks } from '../drivers/linux/disks.ts';
import { describeReal, exec, tempDir } from '../drivers/linux/fixture/real.ts';
import type { AllDisks } from '../drivers/volume-work.ts';
import { Ledger } from '../operations/ledger.ts';
import { Operations } from '../operations/operations.ts';
import { Uploads } from './uploads.ts';
import { VolumeUploads, type InstallWanted } from './volume-uploads.ts';

const MIB = 2 ** 20;
const log = createLog('test', 'silent');
const never = new AbortController().signal;
const sha256 = (b: Buffer): string => createHash('sha256').update(b).digest('hex');
const ID = 'job-1.receive';

describeReal('an upload that becomes a volume', ['qemu-img', 'qemu-io', 'mount'], () => {
  let dataDir: string;
  let ledger: Ledger;
  let operations: Operations;
  let disks: AllDisks;
  let uploads: Uploads;
  let uploaded: VolumeUploads;
  const mounted: string[] = [];

  /** Also after the agent was killed: all that it knows is on its disk. */
  async function open(): Promise<void> {
    ledger = await Ledger.open(dataDir, { clock: systemClock, log });
    operations = new Operations(ledger, systemClock, log);
    disks = createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log });
    uploads = new Uploads(disks, ledger, log, (id) => uploaded.isReading(id));
    uploaded = new VolumeUploads({ disks, uploads, operations });
    await uploads.recover();
  }
  async function killed(): Promise<void> {
    await ledger.close();
    await open();
  }
  beforeEach(async () => {
    dataDir = join(tempDir(), 'd');
    await mkdir(dataDir, { mode: 0o711 });
    await open();
  });
  afterEach(async () => {
    await ledger.close();
    for (const dir of mounted.splice(0)) await exec.run('umount', ['-l', dir]);
  });

  interface Sent {
    readonly offset?: number;
    readonly hash?: string | undefined;
    readonly allocatedBytes?: number;
    readonly fileBytes?: number;
  }
  async function* stream(pieces: readonly Piece[], breaks: boolean): AsyncGenerator<Piece> {
    yield* pieces;
    if (breaks) throw new Error('the connection broke');
  }
  const send = (pieces: readonly Piece[], file: Buffer, o: Sent = {}, breaks = false): Promise<number> => {
    const { offset = 0, hash = sha256(file), allocatedBytes = 0, fileBytes = file.length } = o;
    const part = { uploadId: ID, fileBytes, allocatedBytes, offset };
    return uploaded.receive(part, stream(pieces, breaks), () => hash, never);
  };
  const litter = (): string[] => ['uploads', 'staging', 'volumes'].flatMap((d) => readdirSync(join(dataDir, d)));
  const wanted = (over: Partial<InstallWanted> = {}): InstallWanted => ({
    ...{ uploadId: ID, volumeId: 'volume-1', fileFormat: '', format: 'qcow2', sizeBytes: 0 },
    ...over,
  });
  async function install(over: Partial<InstallWanted> = {}) {
    const id = `job-1.install${Object.keys(over).join('')}`;
    await operations.run(uploaded.install, id, wanted(over));
    for (;;) {
      const op = operations.get(id);
      if (op.state !== 'running') return op;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  async function madeDisk(bytes: number, format: string): Promise<Buffer> {
    const path = join(dataDir, 'made');
    await execa('qemu-img', ['create', '-q', '-f', 'raw', `${path}.raw`, String(bytes)]);
    await execa('qemu-io', ['-f', 'raw', '-c', 'write -q -P 7 1M 1M', `${path}.raw`]);
    await execa('qemu-img', ['convert', '-O', format, `${path}.raw`, path]);
    return readFile(path);
  }

  it('that is whole takes the same file again, and no other for it', async () => {
    const file = Buffer.concat([randomBytes(MIB), Buffer.alloc(MIB)]);
    const other = Buffer.concat([randomBytes(MIB), Buffer.alloc(MIB)]);
    expect(await send([file], file)).toBe(file.length);
    expect(await send([], file, { offset: file.length })).toBe(file.length);
    expect(await send([file], file)).toBe(file.length);
    await expect(send([], file, { offset: file.length }, true)).rejects.toThrow('the connection broke');
    // of the same size, and with the same end
    for (const [pieces, offset] of [[[], file.length] as const, [[other], 0] as const])
      await expect(send(pieces, other, { offset })).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
  });

  it('goes on at any offset as the file that was begun, and as no other: one that has changed since leaves nothing', async () => {
    const file = randomBytes(300_000);
    const other = Buffer.from(file);
    other[0]! ^= 1;
    for (const cut of [1, 511, 4_097, 65_535, 262_145, file.length - 1]) {
      await expect(send([file.subarray(0, cut)], file, {}, true)).rejects.toThrow('the connection broke');
      const { receivedBytes, tailSha256 } = await uploaded.find(ID, never);
      expect([receivedBytes, tailSha256]).toEqual([cut, sha256(file.subarray(0, cut))]);
      await expect(send([other.subarray(cut)], other, { offset: cut })).rejects.toMatchObject({
        reason: 'DIGEST_MISMATCH',
        message: expect.stringContaining('nothing of it stays') as string,
      });
      expect(await uploaded.find(ID, never)).toMatchObject({ receivedBytes: 0, whole: false });
      expect(litter()).toEqual([]);
    }
    for (const [from, to] of [
      [0, 1],
      [1, 511],
      [511, 65_537],
    ] as const)
      await expect(send([file.subarray(from, to)], file, { offset: from }, true)).rejects.toThrow('broke');
    expect(await send([file.subarray(65_537)], file, { offset: 65_537 })).toBe(file.length);
  });

  it('goes on where it broke off, also after the agent was killed, and holds what was sent', async () => {
    const file = await madeDisk(8 * MIB, 'qcow2');
    const cut = 100_000;
    await expect(send([file.subarray(0, cut)], file, {}, true)).rejects.toThrow('the connection broke');
    await killed();
    const there = await uploaded.find(ID, never);
    expect(there).toEqual({ receivedBytes: cut, tailSha256: sha256(file.subarray(0, cut)), whole: false });
    await expect(send([file.subarray(cut + 1)], file, { offset: cut + 1 })).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
      message: expect.stringContaining('100000 bytes of it are here') as string,
    });
    // what is there behind the offset is written anew
    expect(await send([file.subarray(50_000)], file, { offset: 50_000 })).toBe(file.length);
    expect(await uploaded.find(ID, never)).toMatchObject({ receivedBytes: file.length, whole: true });
    // the answer was lost: once more
    expect(await send([], file, { offset: file.length })).toBe(file.length);
    const op = await install();
    expect([op.state, op.image?.virtualSizeBytes, op.image?.sourceDigest]).toEqual([
      'succeeded',
      8 * MIB,
      sha256(file),
    ]);
    const path = disks.volumePath('volume-1', false);
    for (const pattern of ['0 0 1M', '7 1M 1M', '0 2M 6M'])
      expect((await execa('qemu-io', ['-f', 'qcow2', '-c', `read -P ${pattern}`, path])).stdout).not.toMatch(/failed/);
    expect(litter()).toEqual(['volume-1.json', 'volume-1.qcow2']);
    expect(statSync(path)).toMatchObject({ uid: 0, mode: 0o100600 });
  });

  it.each(['vmdk', 'vdi', 'vhdx', 'vpc'] as const)(
    'of %s is our own conversion, as raw where that is asked',
    async (format) => {
      const file = await madeDisk(8 * MIB, format);
      await send([file], file);
      expect((await install({ format: 'raw' })).state).toBe('succeeded');
      const { sizeBytes } = (await disks.findVolume('volume-1'))!;
      const raw = await readFile(disks.volumePath('volume-1', false, 'raw'));
      expect([raw.length, raw.subarray(MIB, 2 * MIB).every((b) => b === 7)]).toEqual([sizeBytes, true]);
    },
  );

  it('keeps holes as holes, on its way and in the volume', async () => {
    const file = Buffer.alloc(256 * MIB);
    file.write('\x53\xef', 0x438, 'latin1');
    const pieces = [file.subarray(0, 65_536), 255 * MIB, file.subarray(0, MIB - 65_536).fill(9, 4096)];
    const sent = Buffer.concat([file.subarray(0, 65_536), Buffer.alloc(255 * MIB), file.subarray(0, MIB - 65_536)]);
    await expect(send(pieces.slice(0, 2), sent, { allocatedBytes: 2 * MIB }, true)).rejects.toThrow();
    expect((await uploaded.find(ID, never)).receivedBytes).toBe(255 * MIB + 65_536);
    await send(pieces.slice(2), sent, { offset: 255 * MIB + 65_536 });
    expect(statSync(join(dataDir, 'uploads', ID)).blocks * 512).toBeLessThan(4 * MIB);
    expect((await install({ format: 'raw' })).state).toBe('succeeded');
    const path = disks.volumePath('volume-1', false, 'raw');
    expect([statSync(path).size, statSync(path).blocks * 512 < 8 * MIB]).toEqual([256 * MIB, true]);
    expect(sha256(await readFile(path))).toBe(sha256(sent));
  }, 60_000);

  it('is refused, and nothing of it stays, when it is another than was sent', async () => {
    const file = await madeDisk(MIB * 4, 'qcow2');
    await expect(send([file], file, { hash: 'f'.repeat(64) })).rejects.toMatchObject({ reason: 'DIGEST_MISMATCH' });
    expect(litter()).toEqual([]);
    expect(await uploaded.find(ID, never)).toMatchObject({ receivedBytes: 0, whole: false });
    await expect(send([file, file], file)).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    expect((await uploaded.find(ID, never)).whole).toBe(false);
  });

  it.each([
    ['a backing file', ['create', '-q', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/shadow'], /\/etc\/shadow/],
    ['a data file', ['create', '-q', '-f', 'qcow2', '-o', 'data_file=DIR/secret,data_file_raw=on'], /data file|secret/],
    ['a foreign extent', [], /keeps its data in other files/],
    ['text', [], /looks like text/],
  ])('with %s makes no volume', async (what, args, words) => {
    const path = join(dataDir, 'evil');
    const given = args.map((a) => a.replace('DIR', dataDir));
    if (args.length > 0) await execa('qemu-img', [...given, path, '8M']);
    else if (what === 'text') writeFileSync(path, 'hello '.repeat(10_000));
    else
      writeFileSync(
        path,
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n\n' +
          'RW 16384 FLAT "/etc/shadow" 0\n\nddb.adapterType = "ide"\n',
      );
    const file = await readFile(path);
    await send([file], file);
    const op = await install();
    expect([op.state, op.failure?.reason]).toEqual(['failed', 'UNSAFE_IMAGE']);
    expect(op.failure?.message).toMatch(words);
    expect(litter()).toEqual([]);
  });

  it('holds a disk of the size that was said, or none', async () => {
    const file = await madeDisk(4 * MIB, 'qcow2');
    await send([file], file);
    const op = await install({ sizeBytes: 2 * MIB });
    expect(op.failure?.message).toMatch(/holds a disk of 4 MiB, and was said to hold one of 2 MiB/);
  });

  it('goes with its job: cancelled while it comes, and acknowledged', async () => {
    const file = randomBytes(4 * MIB);
    await expect(send([file.subarray(0, MIB)], file, {}, true)).rejects.toThrow();
    await operations.cancel(ID);
    await uploads.discard(ID);
    expect(litter()).toEqual([]);
    await expect(send([file], file)).rejects.toMatchObject({ reason: 'CANCELLED' });
    expect(litter()).toEqual([]);
    const other = { uploadId: 'job-2.receive', fileBytes: file.length, allocatedBytes: 0, offset: 0 };
    await uploaded.receive(other, stream([file], false), () => sha256(file), never);
    await uploads.forget(await operations.acknowledge(['job-2.']));
    expect(litter()).toEqual([]);
  });

  it('ends the stream before it, and goes on with what that had brought', async () => {
    const file = randomBytes(2 * MIB);
    let brought = (): void => undefined;
    const first = new Promise<void>((resolve) => (brought = resolve));
    async function* silent(): AsyncGenerator<Piece> {
      yield file.subarray(0, MIB);
      brought();
      await new Promise(() => undefined);
    }
    const part = { uploadId: ID, fileBytes: file.length, allocatedBytes: 0, offset: 0 };
    const hanging = uploaded.receive(part, silent(), () => sha256(file), never);
    hanging.catch(() => undefined);
    await first;
    expect((await uploaded.find(ID, never)).receivedBytes).toBe(MIB);
    await expect(hanging).rejects.toMatchObject({ reason: 'CANCELLED' });
    await send([file.subarray(MIB)], file, { offset: MIB });
    expect((await uploaded.find(ID, never)).whole).toBe(true);
  });

  it('is refused at once where there is no room for it and its volume, and gives all room back when the disk fills up', async () => {
    await ledger.close();
    await exec.run('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'berth-test', dataDir]);
    mounted.push(dataDir);
    await open();
    const file = randomBytes(10 * MIB);
    await expect(send([file], file)).rejects.toMatchObject({
      reason: 'DISK_FULL',
      message: expect.stringMatching(/no room for the upload and the volume made of it: 20 MiB needed/) as string,
    });
    // said to be mostly holes, and is not
    await truncate(join(dataDir, 'filler'), 0).catch(() => writeFileSync(join(dataDir, 'filler'), ''));
    writeFileSync(join(dataDir, 'filler'), Buffer.alloc(8 * MIB, 1));
    const some = Array.from({ length: 10 }, (_, i) => file.subarray(i * MIB, (i + 1) * MIB));
    const failed = send(some, file, { allocatedBytes: MIB });
    await expect(failed).rejects.toMatchObject({ reason: 'DISK_FULL' });
    expect(litter()).toEqual([]);
  });

  it('is installed once, whenever the agent is killed', async () => {
    const file = await madeDisk(4 * MIB, 'qcow2');
    await send([file], file);
    // killed while it converted: what was half made is swept up, and made anew
    await mkdir(join(dataDir, 'staging', `volume-${ID}`));
    writeFileSync(join(dataDir, 'staging', `volume-${ID}`, 'disk'), 'half');
    await killed();
    expect((await install()).state).toBe('succeeded');
    // killed before the ledger had it: the volume is there, the upload too
    await ledger.drop('job-1.install');
    expect((await install()).image?.virtualSizeBytes).toBe(4 * MIB);
    expect((await disks.listVolumes()).map((v) => v.volumeId)).toEqual(['volume-1']);
    expect((await install({ format: 'raw' })).failure?.message).toMatch(/is on this host already, as another/);
  });
});
