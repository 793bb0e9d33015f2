/** Disks and seeds made in memory, looked at by the programs that will have to read them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inspectDiskImage, readOwnQcow2 } from './inspect.ts';
import { isoImage } from './iso9660.ts';
import { emptyQcow2 } from './qcow2-create.ts';

let dir: string;
beforeAll(() => (dir = mkdtempSync(join(tmpdir(), 'berth-make-'))));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const file = (name: string, content: Buffer): string => {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
};
const has = (program: string): boolean => {
  try {
    execFileSync('which', [program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};
const required = process.env['LAB_REQUIRED'] === '1';
const source = (content: Buffer) => ({
  name: 'made',
  sizeBytes: content.length,
  read: async (offset: number, length: number) => content.subarray(offset, offset + length),
});

describe('an empty qcow2', () => {
  it('is one to our own parser, at any size', async () => {
    const sizes = fc.integer({ min: 1, max: 2 ** 37 }).map((n) => n * 512);
    await fc.assert(
      fc.asyncProperty(sizes, async (size) => {
        const found = await inspectDiskImage(source(emptyQcow2(size)), '');
        expect(found).toMatchObject({ format: 'qcow2', virtualSizeBytes: size });
      }),
      { numRuns: 50 },
    );
    expect((await readOwnQcow2(source(emptyQcow2(2 ** 30, '/var/lib/berth/images/x.qcow2')))).virtualSizeBytes).toBe(
      2 ** 30,
    );
  });

  it.skipIf(!has('qemu-img') && !required)(
    'is one to qemu-img: no errors, the right size, the parent with its format',
    () => {
      const base = file('base.qcow2', emptyQcow2(2 ** 20));
      const overlay = file('überlay.qcow2', emptyQcow2(3 * 2 ** 40 + 512, base));
      const check = JSON.parse(execFileSync('qemu-img', ['check', '--output=json', overlay]).toString()) as Record<
        string,
        number
      >;
      expect(check['check-errors']).toBe(0);
      expect(check['corruptions'] ?? 0).toBe(0);
      expect(check['leaks'] ?? 0).toBe(0);
      const info = JSON.parse(execFileSync('qemu-img', ['info', '--output=json', overlay]).toString()) as Record<
        string,
        unknown
      >;
      expect(info).toMatchObject({
        format: 'qcow2',
        'virtual-size': 3 * 2 ** 40 + 512,
        'backing-filename': base,
        'backing-filename-format': 'qcow2',
      });
      execFileSync('qemu-img', ['bench', '-w', '-c', '10', '-q', '-f', 'qcow2', overlay], { stdio: 'ignore' });
    },
  );
});

describe('a seed', () => {
  const files = {
    'meta-data': 'local-hostname: web\n',
    'user-data': '#cloud-config\n',
    'network-config': 'x'.repeat(5000),
  };

  it('is the same for the same files', () => {
    expect(isoImage(files, 'cidata')).toEqual(isoImage(Object.fromEntries(Object.entries(files).reverse()), 'cidata'));
  });

  it.skipIf(!has('blkid') && !required)('is found by its label', () => {
    const found = execFileSync('blkid', ['-p', '-o', 'export', file('seed.iso', isoImage(files, 'cidata'))]).toString();
    expect(found).toMatch(/^LABEL=cidata$/m);
    expect(found).toMatch(/^TYPE=iso9660$/m);
  });

  it.skipIf(!has('isoinfo'))('shows its files to other programs, with and without Joliet', () => {
    const iso = file('seed.iso', isoImage(files, 'cidata'));
    const listed = execFileSync('isoinfo', ['-J', '-f', '-i', iso]).toString().trim().split('\n').sort();
    expect(listed).toEqual(['/meta-data', '/network-config', '/user-data']);
    expect(execFileSync('isoinfo', ['-J', '-x', '/network-config', '-i', iso]).toString()).toBe(
      files['network-config'],
    );
    expect(execFileSync('isoinfo', ['-x', '/META-DATA.;1', '-i', iso]).toString()).toBe(files['meta-data']);
  });

  it('holds many files and empty ones', () => {
    const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`file-${i}`, i % 2 ? 'y' : '']));
    expect(isoImage(many, 'cidata').length % 2048).toBe(0);
  });
});
