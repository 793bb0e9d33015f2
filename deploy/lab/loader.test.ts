/** The boot loader of the lab's guest: the bytes in the repository are those that its text makes. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { findRoot } from '../setup/root.js';

const SECTOR_BYTES = 512;
const guest = (name: string): string => path.join(findRoot(), 'deploy/lab/guest', name);

it.skipIf(process.arch !== 'x64')('is made of its text, and leaves the partition table its place', () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'loader-'));
  const [object, made] = [path.join(dir, 'loader.o'), path.join(dir, 'loader.bin')];
  try {
    // of binutils, which g++ needs, which npm's packages are compiled with
    execFileSync('as', ['--32', '-o', object, guest('loader.S')]);
    execFileSync('ld', ['-m', 'elf_i386', '-Ttext', '0x7c00', '--oformat', 'binary', '-o', made, object]);
    const bytes = readFileSync(guest('loader.bin'));
    expect(readFileSync(made).equals(bytes)).toBe(true);
    expect(bytes.length).toBeLessThanOrEqual(440);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

it('finds its command line whole in the second sector, behind five numbers', () => {
  const text = readFileSync(guest('command-line'), 'utf8').trim();
  expect(text).not.toContain('\n');
  expect(text.length).toBeLessThan(SECTOR_BYTES - 5 * 4);
});
