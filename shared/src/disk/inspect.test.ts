import { describe, expect, it } from 'vitest';
import { inspectDiskImage, readOwnQcow2 } from './inspect.ts';
import { CLUSTER, DATA_AT, L1_AT, L2_AT, makeQcow2, sourceOf } from './qcow2.fixture.ts';
import { EXTENSION } from './qcow2-header.ts';

const inspect = (bytes: Uint8Array, format = '', name = 'evil.qcow2') =>
  inspectDiskImage(sourceOf(bytes, name), format);
const words = async (bytes: Uint8Array, format = '', name = 'evil.qcow2'): Promise<string> => {
  const e = await inspect(bytes, format, name).then(
    () => new Error('was accepted'),
    (e: Error) => e,
  );
  expect(e).toMatchObject({ name: 'ClusterError', reason: 'UNSAFE_IMAGE', meta: { subject: name } });
  return e.message;
};
const spoil = (change: (file: Buffer) => void): Buffer => {
  const file = makeQcow2();
  change(file);
  return file;
};
const raw = (at: number, magic: string, size = 2 ** 20): Buffer => {
  const file = Buffer.alloc(size);
  file.write(magic, at, 'latin1');
  return file;
};

describe('a qcow2 image', () => {
  it('is accepted when it stands alone, in both versions, with snapshots, lazy reference counts or extended entries', async () => {
    const accepted = { format: 'qcow2', virtualSizeBytes: 10 * 2 ** 20, snapshots: 0 };
    expect(await inspect(makeQcow2())).toEqual(accepted);
    expect(await inspect(makeQcow2({ version: 2 }))).toEqual(accepted);
    expect(await inspect(makeQcow2({ snapshots: 2 }))).toEqual({ ...accepted, snapshots: 2 });
    expect(await inspect(makeQcow2({ incompatible: 1n }))).toEqual(accepted);
    expect(await inspect(makeQcow2({ incompatible: 16n, dataClusters: 1 }))).toEqual(accepted);
  });

  it('is refused when it refers to another file, naming that file', async () => {
    expect(await words(makeQcow2({ backingFile: '/etc/shadow' }))).toBe(
      'evil.qcow2 refers to another file (/etc/shadow) as its backing file. An image must stand alone: flatten it where it was made, if you trust where it comes from.',
    );
    expect(await words(makeQcow2({ backingFile: 'json:{"driver":"\x1b[2J"}' }))).toContain('(json:{"driver":"?[2J"})');
    expect(await words(makeQcow2({ version: 2, backingFile: 'base' }))).toContain('(base)');
  });

  it('is refused when its data lies in another file, by the bit or by the extension', async () => {
    expect(await words(makeQcow2({ extensions: [[EXTENSION.dataFile, '/dev/sda']] }))).toBe(
      'evil.qcow2 keeps its data in another file (/dev/sda). An image must stand alone: flatten it where it was made, if you trust where it comes from.',
    );
    expect(await words(makeQcow2({ incompatible: 4n }))).toContain('in another file (not named)');
  });

  it('is refused when it is encrypted, corrupt, or from a future', async () => {
    expect(await words(makeQcow2({ encryption: 1 }))).toContain('is encrypted');
    expect(await words(makeQcow2({ extensions: [[EXTENSION.encryption, 'x'.repeat(16)]] }))).toContain('is encrypted');
    expect(await words(makeQcow2({ incompatible: 2n }))).toBe(
      'evil.qcow2 is marked as corrupt. Repair it first: qemu-img check -r all.',
    );
    expect(await words(makeQcow2({ incompatible: 1n << 40n }))).toContain('does not know (bits 0x10000000000)');
    expect(await words(spoil((f) => f.writeUInt32BE(4, 4)))).toBe('evil.qcow2 is qcow2 version 4, which is unknown');
  });

  it('is refused with a virtual size beyond 64 TiB, and with none', async () => {
    expect(await words(makeQcow2({ sizeBytes: 2n ** 50n }))).toBe(
      'evil.qcow2 claims a virtual size of 1 PiB; Berth takes disks of at most 64 TiB. If it is a real disk, shrink it where it was made.',
    );
    expect(await words(makeQcow2({ sizeBytes: 2n ** 64n - 1n }))).toContain('at most 64 TiB');
    expect(await words(makeQcow2({ sizeBytes: 0n }))).toContain('is an empty disk');
  });

  it('is refused with an absurd geometry', async () => {
    for (const file of [
      makeQcow2({ clusterBits: 8 }),
      makeQcow2({ clusterBits: 22 }),
      makeQcow2({ clusterBits: 4_000_000_000 }),
      makeQcow2({ refcountOrder: 7 }),
      makeQcow2({ l1Entries: 0 }),
      makeQcow2({ l1Entries: 0xffffffff }),
      spoil((f) => f.writeUInt32BE(8, 100)),
      spoil((f) => f.writeUInt32BE(0x7fffffff, 56)),
      spoil((f) => f.writeUInt32BE(0xffffffff, 60)),
      spoil((f) => f.writeBigUInt64BE(77n, 40)),
      spoil((f) => f.writeUInt32BE(0x12345678, 104) && f.writeUInt32BE(0x7fffffff, 108)),
      spoil((f) => f.writeBigUInt64BE(BigInt(L2_AT + 512), L1_AT)),
      spoil((f) => f.writeBigUInt64BE(BigInt(DATA_AT + 512), L2_AT)),
    ])
      expect(await words(file)).toMatch(/^evil.qcow2 is damaged: /);
  });

  it('is recognised as truncated wherever it was cut', async () => {
    const whole = makeQcow2({ dataClusters: 3 });
    for (const length of [
      8,
      71,
      100,
      600,
      L1_AT,
      L2_AT,
      L2_AT + 512,
      DATA_AT,
      whole.length - CLUSTER,
      whole.length - 512,
      whole.length - 1,
    ])
      expect(await words(whole.subarray(0, length)), `cut at ${length}`).toMatch(/^evil.qcow2 is truncated: /);
    expect(await words(whole.subarray(0, DATA_AT))).toBe(
      `evil.qcow2 is truncated: its data lies beyond the end of the file (${DATA_AT} bytes). Copy it again, whole.`,
    );
  });

  it('is recognised as truncated when compressed data is missing, and takes clusters of zeros that were never written', async () => {
    const compressed = (sector: number): bigint => (1n << 62n) | (0n << 54n) | BigInt(sector * 512);
    const inFile = spoil((f) => f.writeBigUInt64BE(compressed(DATA_AT / 512), L2_AT));
    expect((await inspect(inFile)).format).toBe('qcow2');
    const beyond = spoil((f) => f.writeBigUInt64BE(compressed(f.length / 512), L2_AT));
    expect(await words(beyond)).toContain('its compressed data lies beyond the end');
    expect((await inspect(spoil((f) => f.writeBigUInt64BE(2n ** 40n + 1n, L2_AT)))).format).toBe('qcow2');
  });

  it('may end anywhere after its data: a snapshot table that stood there is not padded', async () => {
    expect((await inspect(Buffer.concat([makeQcow2(), Buffer.alloc(71)]))).format).toBe('qcow2');
  });

  it('may end inside the cluster in which the disk ends', async () => {
    const file = makeQcow2({ sizeBytes: BigInt(CLUSTER + 512), dataClusters: 2 });
    expect((await inspect(file.subarray(0, DATA_AT + CLUSTER + 512))).virtualSizeBytes).toBe(CLUSTER + 512);
    expect(await words(file.subarray(0, DATA_AT + CLUSTER))).toContain('truncated');
  });

  it('of our own may have a backing file, and its header is read without the tables', async () => {
    const file = makeQcow2({ backingFile: '/var/lib/berth/images/x.qcow2' }).subarray(0, 4_096);
    const header = await readOwnQcow2(sourceOf(file));
    expect(header).toMatchObject({ virtualSizeBytes: 10 * 2 ** 20, backingFile: '/var/lib/berth/images/x.qcow2' });
  });
});

describe('other files', () => {
  it('that are text are refused, saying what is known', async () => {
    expect(await words(Buffer.from('# Notes\nBuy café au lait\n'.repeat(500)), '', 'notes.txt')).toBe(
      'notes.txt is not a disk image (it looks like text). Known: qcow2, vmdk, vdi, vhdx, vpc, raw with a partition table or file system. A raw image without either can be imported with --format raw.',
    );
  });

  it('that are disks in another container, archives or encrypted say what to do first', async () => {
    expect(await words(raw(0, 'QED\0'))).toBe(
      'evil.qcow2 is a qed disk. Convert it first: qemu-img convert -f qed -O qcow2 FILE NEW.',
    );
    expect(await words(raw(0, 'vhdxfile'))).toContain('no table of regions');
    expect(await words(raw(0, '\x1f\x8b\x08'))).toBe('evil.qcow2 is compressed with gzip. Unpack it first: gunzip.');
    expect(await words(raw(0, '\xfd7zXZ\0'))).toContain('unxz');
    expect(await words(raw(257, 'ustar'))).toContain('tar archive (an ova is one)');
    expect(await words(raw(0, 'LUKS\xba\xbe'))).toContain('is encrypted (LUKS)');
    expect(await words(raw(0, 'KDMV'), 'raw')).toContain('a vmdk disk: leave --format raw out');
  });

  it('that are empty, zeros or noise are refused', async () => {
    expect(await words(Buffer.alloc(0))).toBe('evil.qcow2 is empty (0 bytes)');
    expect(await words(Buffer.alloc(2 ** 20))).toContain('begins with zeros only');
    expect(await words(Buffer.from([1, 2, 3, 0, 5]))).toContain('neither a known header nor a partition table');
  });

  it('that were asked to be qcow2 and are not say what they are', async () => {
    expect(await words(raw(0, 'XFSB'), 'qcow2')).toBe(
      'evil.qcow2 is not a qcow2 image (it looks like a raw disk with xfs)',
    );
    expect(await words(makeQcow2(), 'raw')).toBe('evil.qcow2 is a qcow2 image: leave --format raw out');
  });

  it('of formats nobody takes are an invalid argument', async () => {
    await expect(inspect(makeQcow2(), 'iso')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  });
});

describe('a raw image', () => {
  it('is accepted with a partition table or a file system', async () => {
    for (const [at, magic] of [
      [512, 'EFI PART'],
      [0x438, '\x53\xef'],
      [0x8001, 'CD001'],
      [0, 'XFSB'],
      [0x10040, '_BHRfS_M'],
    ] as const)
      expect(await inspect(raw(at, magic)), magic).toMatchObject({ format: 'raw', virtualSizeBytes: 2 ** 20 });
    expect(await inspect(raw(510, '\x55\xaa'))).toMatchObject({ format: 'raw' });
  });

  it('without either is accepted on demand, its size rounded up to whole sectors', async () => {
    expect(await inspect(Buffer.alloc(1_000, 7), 'raw')).toEqual({
      format: 'raw',
      virtualSizeBytes: 1_024,
      snapshots: 0,
    });
  });

  it('that ends before its partitions do is truncated', async () => {
    const mbr = raw(510, '\x55\xaa');
    mbr[450] = 0x83;
    mbr.writeUInt32LE(2_048, 454);
    mbr.writeUInt32LE(1_000_000, 458);
    expect(await words(mbr)).toContain('is truncated: its partition 1 lies beyond the end');
    const gpt = raw(512, 'EFI PART');
    gpt.writeBigUInt64LE(2_048n, 512 + 32);
    expect(await words(gpt)).toContain('its second partition table lies beyond the end');
    gpt.writeBigUInt64LE(2_047n, 512 + 32);
    expect((await inspect(gpt)).format).toBe('raw');
  });
});
