import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isClusterError } from '../errors/cluster-error.ts';
import { sourceOf } from './qcow2.fixture.ts';
import { listTar, TAR_END, tarHeader, tarPadding } from './tar.ts';

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'berth-tar-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const list = (bytes: Buffer) => listTar(sourceOf(bytes, 'a.ova'));
const packed = (...args: string[]): Buffer => {
  execFileSync('tar', ['-C', dir, '-cf', join(dir, '..', 'out.tar'), ...args]);
  return readFileSync(join(dir, '..', 'out.tar'));
};

it('lists plain files where they lie, of archives that tar made, in the forms that it has', async () => {
  writeFileSync(join(dir, 'a.ovf'), '<x/>');
  writeFileSync(join(dir, 'a.vmdk'), Buffer.alloc(1500, 7));
  for (const format of ['--format=ustar', '--format=gnu', '--format=pax', '--format=posix']) {
    const tar = packed(format, 'a.ovf', 'a.vmdk');
    const members = await list(tar);
    expect(members.map((m) => [m.name, m.sizeBytes])).toEqual([
      ['a.ovf', 4],
      ['a.vmdk', 1500],
    ]);
    expect(tar.subarray(members[0]!.offset, members[0]!.offset + 4).toString()).toBe('<x/>');
  }
});

it('refuses paths, links, devices, folders, and the same name twice', async () => {
  writeFileSync(join(dir, 'a'), 'x');
  symlinkSync('/etc/shadow', join(dir, 'link'));
  await expect(list(packed('a', 'link'))).rejects.toThrow('no plain file');
  await expect(list(packed('--transform', 's,^,../,', 'a', '-P'))).rejects.toThrow('with a path');
  await expect(list(packed('--transform', 's,^,/etc/,', 'a', '-P'))).rejects.toThrow('with a path');
  await expect(list(packed('.'))).rejects.toThrow(/no plain file|with a path/);
  await expect(list(packed('a', 'a'))).rejects.toThrow(/holds a twice|no plain file/);
});

it('takes names that are long, or not of ASCII, as pax and GNU tar write them, and sizes', async () => {
  const long = `${'disk-'.repeat(24)}.vmdk`;
  for (const name of [long, 'disque-été.vmdk']) writeFileSync(join(dir, name), Buffer.alloc(1500, 7));
  writeFileSync(join(dir, 'a.ovf'), '<x/>');
  for (const format of ['--format=pax', '--format=gnu']) {
    const tar = packed(format, 'a.ovf', long, 'disque-été.vmdk');
    const members = await list(tar);
    expect(members.map((m) => [m.name, m.sizeBytes])).toEqual([
      ['a.ovf', 4],
      [long, 1500],
      ['disque-été.vmdk', 1500],
    ]);
    for (const m of members.slice(1))
      expect(tar.subarray(m.offset, m.offset + 1500).equals(Buffer.alloc(1500, 7))).toBe(true);
  }
  const sized = Buffer.concat([pax('17 size=00000700\n', 'comment=by hand'), tarHeader('a', 0, 0), Buffer.alloc(1024)]);
  expect(await list(sized)).toEqual([{ name: 'a', offset: 1536, sizeBytes: 700 }]);
});

/** A header of records; those without a length get theirs. */
function pax(...records: string[]): Buffer {
  const body = Buffer.from(records.map((r) => (/^\d/.test(r) ? r : `${r.length + 4} ${r}\n`)).join(''));
  const header = tarHeader('PaxHeaders/a', body.length, 0);
  header.write('x', 156, 'latin1');
  let sum = 8 * 32;
  for (const [i, b] of header.entries()) if (i < 148 || i >= 156) sum += b;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([header, body, tarPadding(body.length)]);
}

it('refuses what leads out, and what is damaged, also in the headers of pax', async () => {
  const member = Buffer.concat([tarHeader('a', 1, 0), Buffer.alloc(512), TAR_END]);
  const after = (...records: string[]) => list(Buffer.concat([pax(...records), member]));
  await expect(after('path=../../etc/shadow')).rejects.toThrow('with a path');
  await expect(after('path=/etc/shadow')).rejects.toThrow('with a path');
  await expect(after('GNU.sparse.major=1')).rejects.toThrow('sparse');
  for (const bad of [
    '99 path=a\n',
    '0 path=a\n',
    '11 size=-1\n',
    '12 size=1e3\n',
    '11 noequal\n',
    '19 path=without end',
  ])
    await expect(after(bad), bad).rejects.toThrow('is damaged');
  await expect(after(`size=${2 ** 45}`)).rejects.toThrow('is truncated');
  await expect(list(Buffer.concat([...Array(300).fill(pax('comment=x'))]))).rejects.toThrow('more than 64 files');
});

it('is read by tar as it is written here, also where a file is larger than 8 GiB', async () => {
  const body = Buffer.alloc(700, 5);
  const tar = Buffer.concat([tarHeader('disk.vmdk', body.length, 1e12), body, tarPadding(body.length), TAR_END]);
  writeFileSync(join(dir, 'own.tar'), tar);
  expect(execFileSync('tar', ['-tvf', join(dir, 'own.tar')]).toString()).toMatch(/700 .* disk\.vmdk/);
  expect(await list(tar)).toEqual([{ name: 'disk.vmdk', offset: 512, sizeBytes: 700 }]);
  const large = { ...sourceOf(tarHeader('big', 2 ** 35, 0), 'x'), sizeBytes: 2 ** 36 };
  expect(await listTar(large)).toEqual([{ name: 'big', offset: 512, sizeBytes: 2 ** 35 }]);
});

it('gives an answer or one clear line, whatever the bytes are', async () => {
  const good = Buffer.concat([pax('path=b'), tarHeader('a', 3, 0), Buffer.from('abc'), tarPadding(3), TAR_END]);
  const changes = fc.array(fc.tuple(fc.nat(1535), fc.nat(255)), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(changes, fc.boolean(), async (all, fix) => {
      const copy = Buffer.from(good);
      for (const [at, byte] of all) copy[at] = byte;
      if (fix) {
        let sum = 8 * 32;
        for (let i = 0; i < 512; i++) if (i < 148 || i >= 156) sum += copy[i]!;
        copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
      }
      const e: unknown = await list(copy).then(
        () => undefined,
        (x: unknown) => x,
      );
      if (e !== undefined) expect(isClusterError(e, 'UNSAFE_IMAGE'), String(e)).toBe(true);
    }),
    { numRuns: 500 },
  );
});
