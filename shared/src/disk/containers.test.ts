/** Headers of other virtualisers' disks, as qemu-img writes them, and as somebody writes them who means harm. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isClusterError } from '../errors/cluster-error.ts';
import { inspectDiskImage } from './inspect.ts';
import { sourceOf } from './qcow2.fixture.ts';

const MIB = 2 ** 20;
const required = process.env['LAB_REQUIRED'] === '1';
const has = (): boolean => {
  try {
    execFileSync('qemu-img', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
let dir: string;
beforeAll(() => (dir = mkdtempSync(join(tmpdir(), 'berth-containers-'))));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const FORMS: readonly (readonly [format: string, name: string, options: string])[] = [
  ['vmdk', 'sparse.vmdk', 'subformat=monolithicSparse'],
  ['vmdk', 'stream.vmdk', 'subformat=streamOptimized'],
  ['vdi', 'dynamic.vdi', 'static=off'],
  ['vdi', 'static.vdi', 'static=on'],
  ['vhdx', 'disk.vhdx', 'subformat=dynamic'],
  ['vpc', 'dynamic.vhd', 'subformat=dynamic,force_size=on'],
  ['vpc', 'fixed.vhd', 'subformat=fixed,force_size=on'],
];
function made(format: string, name: string, options: string): Buffer {
  const raw = Buffer.alloc(4 * MIB);
  raw.write('\x53\xef', 0x438, 'latin1');
  raw.fill(7, 2 * MIB, 2 * MIB + 4096);
  writeFileSync(join(dir, 'raw'), raw);
  execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', format, '-o', options, join(dir, 'raw'), join(dir, name)]);
  return readFileSync(join(dir, name));
}
const inspect = (bytes: Buffer, format = '') => inspectDiskImage(sourceOf(bytes, 'evil'), format);
const words = async (bytes: Buffer, format = ''): Promise<string> => {
  const e = await inspect(bytes, format).catch((x: unknown) => x);
  expect(isClusterError(e, 'UNSAFE_IMAGE'), String(e)).toBe(true);
  return (e as Error).message;
};

describe.skipIf(!has() && !required)('a disk of another virtualiser', () => {
  it.each(FORMS)('is known by its header: %s, %s', async (format, name, options) => {
    const file = made(format, name, options);
    expect(await inspect(file)).toEqual({ format, virtualSizeBytes: 4 * MIB, snapshots: 0 });
    expect(await inspect(file, format)).toMatchObject({ format });
    expect(await words(file, 'qcow2')).toContain('is not a qcow2 image');
    expect(await words(file, 'raw')).toContain('leave --format raw out');
  });

  it('that keeps its data in other files, or has a parent, is refused', async () => {
    const vmdk = made('vmdk', 'v.vmdk', 'subformat=monolithicSparse');
    const described = (change: (text: string) => string): Buffer => {
      const file = Buffer.from(vmdk);
      const text = file
        .subarray(512, 512 + 20 * 512)
        .toString('latin1')
        .replace(/\0+$/, '');
      file.fill(0, 512, 512 + 20 * 512);
      file.write(change(text), 512, 'latin1');
      return file;
    };
    const flat = described((t) => t.replace(/RW (\d+) SPARSE "[^"]*"/, 'RW $1 FLAT "/etc/shadow" 0'));
    expect(await words(flat)).toContain('keeps its data in other files');
    const two = described((t) => t.replace(/(RW \d+ SPARSE "[^"]*")/, '$1\nRW 8 SPARSE "/etc/shadow"'));
    expect(await words(two)).toContain('keeps its data in other files');
    const child = described((t) => `${t}\nparentFileNameHint="/etc/shadow"\n`);
    expect(await words(child)).toContain('differs from another disk (/etc/shadow)');
    const orphan = described((t) => t.replace(/parentCID=ffffffff/, 'parentCID=12345678'));
    expect(await words(orphan)).toContain('differs from another disk');
    const kind = described((t) => t.replace('monolithicSparse', 'twoGbMaxExtentSparse'));
    expect(await words(kind)).toContain('of the type twoGbMaxExtentSparse');
    // no size: QEMU would read the description as a list of files
    const list = Buffer.from(vmdk);
    list.writeBigUInt64LE(0n, 12);
    expect(await words(list)).toContain('keeps its data in other files');
    expect(await words(Buffer.from('# Disk DescriptorFile\nRW 8 FLAT "/etc/shadow" 0\n'))).toContain('in other files');
    expect(await words(Buffer.concat([Buffer.from('COWD'), Buffer.alloc(MIB)]))).toContain('in other files');
    const vdi = made('vdi', 'v.vdi', 'static=off');
    vdi.writeUInt32LE(4, 0x4c);
    expect(await words(vdi)).toContain('differs from another disk');
    vdi.writeUInt32LE(1, 0x4c);
    vdi[0x1a8] = 1;
    expect(await words(vdi)).toContain('differs from another disk');
    const vpc = made('vpc', 'v.vhd', 'subformat=dynamic');
    vpc.writeUInt32BE(4, 0x3c);
    expect(await words(vpc)).toContain('differs from another disk');
    const vhdx = made('vhdx', 'v.vhdx', 'subformat=dynamic');
    const at = vhdx.indexOf(Buffer.from('3767a1ca36fa434db3b633f0aa44e76b', 'hex'));
    const region = vhdx.indexOf('metadata', 192 * 1024 + 65_536, 'latin1');
    vhdx[region + vhdx.readUInt32LE(at + 16) + 4] = 2;
    expect(await words(vhdx)).toContain('a vhdx with a parent');
  });

  it('that was written in one run has the size that its header says at its end too', async () => {
    const vmdk = made('vmdk', 's.vmdk', 'subformat=streamOptimized');
    const header = Buffer.from(vmdk.subarray(0, 512));
    const begin = Buffer.from(vmdk);
    begin.writeBigUInt64LE(2n ** 64n - 1n, 56);
    const marker = (sectors: bigint, type: number): Buffer => {
      const m = Buffer.alloc(512);
      m.writeBigUInt64LE(sectors);
      m.writeUInt32LE(type, 12);
      return m;
    };
    const ending = (footer: Buffer): Buffer => Buffer.concat([begin, marker(1n, 3), footer, marker(0n, 0)]);
    const good = ending(header);
    expect(await inspect(good)).toMatchObject({ format: 'vmdk', virtualSizeBytes: 4 * MIB });
    writeFileSync(join(dir, 'footer'), good);
    const info = execFileSync('qemu-img', ['info', '-f', 'vmdk', '--output=json', join(dir, 'footer')]).toString();
    expect(JSON.parse(info)).toMatchObject({ 'virtual-size': 4 * MIB });
    for (const sectors of [0n, 8n, 2n ** 40n]) {
      const footer = Buffer.from(header);
      footer.writeBigUInt64LE(sectors, 12);
      expect(await words(ending(footer))).toContain('another size in its footer than in its header');
    }
    expect(await words(begin)).toContain('no footer');
  });

  it('with any bytes changed, or cut anywhere, gets an answer or one clear line', async () => {
    const files = FORMS.map(([format, name, options]) => made(format, name, options));
    const which = fc.constantFrom(...files);
    const place = fc.oneof(fc.nat(1_100), fc.nat(0x200), fc.integer({ min: 192 * 1024, max: 192 * 1024 + 200 }));
    const change = fc.array(fc.tuple(place, fc.nat(255)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(which, change, fc.option(fc.nat(400_000)), async (file, changes, cut) => {
        const copy = Buffer.from(file.subarray(0, cut ?? file.length));
        for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte;
        const e: unknown = await inspect(copy).then(
          () => undefined,
          (x: unknown) => x,
        );
        if (e === undefined) return;
        expect(isClusterError(e, 'UNSAFE_IMAGE'), String(e)).toBe(true);
        expect((e as Error).message).toMatch(/^[^\p{Cc}]+$/u);
      }),
      { numRuns: 300 },
    );
  });
});
