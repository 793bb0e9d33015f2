import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { readFile, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { createLog } from '@berth/shared/log/log.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import { expect, it, vi } from 'vitest';
import type { Disks } from '../../disks.ts';
import { createDisks } from '../disks.ts';
import { describeReal, exec, tempDir, work } from '../fixture/real.ts';

const start = (dataDir: string): Disks =>
  createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log: createLog('test', 'silent') });
const litter = (dataDir: string, ...dirs: string[]): string[] =>
  dirs.flatMap((d) => readdirSync(join(dataDir, d)).map((n) => `${d}/${n}`));

/** Imports the upload "u" in a process of its own, and says so as soon as the conversion is under way. */
const IMPORTER = `
  import { writeFileSync } from 'node:fs';
  import { createDisks } from '${join(import.meta.dirname, '../disks.ts')}';
  import { systemClock } from '@berth/shared/runtime/clock.ts';
  const log = { info() {}, warn() {}, error() {}, debug() {} };
  const [dataDir, flag] = process.argv.slice(2);
  const disks = createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log });
  const onProgress = () => writeFileSync(flag, 'converting');
  await disks.importImage('u', '', { signal: new AbortController().signal, onProgress });
  writeFileSync(flag, 'done');
`;

/** Makes the volume "v" larger and smaller again, and says each time when that has begun. */
const RESIZER = `
  import { writeFileSync } from 'node:fs';
  import { createDisks } from '${join(import.meta.dirname, '../disks.ts')}';
  import { systemClock } from '@berth/shared/runtime/clock.ts';
  const log = { info() {}, warn() {}, error() {}, debug() {} };
  const [dataDir, flag] = process.argv.slice(2);
  const disks = createDisks({ dataDir, unprivilegedUser: 'nobody', clock: systemClock, log });
  await disks.listImages(); // opens the pool
  writeFileSync(flag, 'resizing');
  for (let n = 0; n < 1_000; n++)
    await disks.work.resize('v', (n % 2 ? 8 : 16) * 2 ** 20, { shrink: true }, { signal: new AbortController().signal, onProgress() {} });
`;

async function startProgram(program: string, dir: string, dataDir: string): Promise<{ pid: number; flag: string }> {
  const outfile = join(dir, 'importer.mjs');
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire('/');" };
  const stdin = { contents: program, resolveDir: import.meta.dirname, loader: 'ts' as const };
  await build({ stdin, outfile, bundle: true, platform: 'node', format: 'esm', banner, logLevel: 'error' });
  const flag = join(dir, 'flag');
  const pid = await exec.launch(process.execPath, [outfile, dataDir, flag], { logFile: join(dir, 'log') });
  return { pid, flag };
}

/** Large enough that the conversion is not over before it is killed. */
async function uploadLarge(disks: Disks): Promise<void> {
  const bytes = 192 * 2 ** 20;
  const sink = await disks.openUpload('u', bytes);
  const chunk = Buffer.alloc(2 ** 20);
  for (let i = 0; i < bytes / chunk.length; i++) {
    for (let at = 0; at < chunk.length; at += 4_096) chunk.writeUInt32LE(i * 4_096 + at, at);
    chunk.write('\x53\xef', 0x438, 'latin1');
    await sink.write(chunk);
  }
  await sink.finish();
}

describeReal('after kill -9 of the agent', ['qemu-img', 'qemu-nbd'], () => {
  it('in the middle of a conversion, qemu-img is gone too, the next start sweeps up, and the import can run again', async () => {
    const [dir, dataDir] = [tempDir(), join(tempDir(), 'd')];
    const first = start(dataDir);
    await uploadLarge(first);
    const { pid, flag } = await startProgram(IMPORTER, dir, dataDir);
    // the file is there a moment before its content
    const saysSo = async (): Promise<void> => expect(await readFile(flag, 'utf8')).toBe('converting');
    await vi.waitFor(saysSo, { timeout: 15_000, interval: 1 });
    process.kill(pid, 'SIGKILL');
    expect(litter(dataDir, 'staging')).toEqual(['staging/import-u']);
    const converting = async (): Promise<string[]> => {
      const pids = readdirSync('/proc').filter((n) => /^\d+$/.test(n));
      const lines = await Promise.all(pids.map((p) => readFile(`/proc/${p}/cmdline`, 'utf8').catch(() => '')));
      return lines.filter((l) => l.includes('qemu-img') && l.includes(dataDir));
    };
    await vi.waitFor(async () => expect(await converting()).toEqual([]), { timeout: 5_000 });
    const again = start(dataDir);
    expect(await again.listImages()).toEqual([]);
    expect(litter(dataDir, 'staging', 'run', 'images')).toEqual([]);
    expect(await again.hasUpload('u')).toBe(true);
    const image = await again.importImage('u', '', work);
    expect(await again.listImages()).toMatchObject([{ digest: image.digest }]);
    expect(litter(dataDir, 'staging', 'run')).toEqual([]);
    const modified = (await stat(join(dataDir, 'images', `${image.digest.slice(7)}.qcow2`))).mtimeMs;
    // killed again before anybody had the answer: what is installed is not converted anew, not even when that is cancelled
    const cancelled = { ...work, signal: AbortSignal.abort() };
    expect(await start(dataDir).importImage('u', '', cancelled)).toEqual(image);
    expect((await stat(join(dataDir, 'images', `${image.digest.slice(7)}.qcow2`))).mtimeMs).toBe(modified);
  });

  it.each(['qcow2', 'raw'] as const)(
    'at any moment of a resize, nothing is left that holds the volume, and the %s volume can be resized again',
    async (format) => {
      const [dir, dataDir] = [tempDir(), join(tempDir(), 'd')];
      const spec = { volumeId: 'v', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 16 * 2 ** 20, format };
      await start(dataDir).ensureVolume(spec);
      for (let at = 0; at < 8; at++) {
        const { pid, flag } = await startProgram(RESIZER, dir, dataDir);
        const began = async (): Promise<void> => expect(await readFile(flag, 'utf8')).toBe('resizing');
        await vi.waitFor(began, { timeout: 30_000, interval: 1 });
        await systemClock.sleep(at * 23);
        process.kill(pid, 'SIGKILL');
        await rm(flag);
        const next = createDisks({
          dataDir,
          unprivilegedUser: 'nobody',
          clock: systemClock,
          log: createLog('test', 'silent'),
        });
        await next.work.resize('v', (at % 2 ? 12 : 20) * 2 ** 20, { shrink: true }, work);
        expect((await next.findVolume('v'))?.sizeBytes).toBe((at % 2 ? 12 : 20) * 2 ** 20);
      }
    },
    120_000,
  );

  it('whatever was half-made is swept up, and what was whole stays', async () => {
    const dataDir = join(tempDir(), 'd');
    const disks = start(dataDir);
    await disks.ensureVolume({ volumeId: 'whole', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 20 });
    const sink = await disks.openUpload('kept', 0);
    await sink.finish();
    const hex = 'ab'.repeat(32);
    const half = [
      `images/${hex}.json`,
      `images/${hex}.chunks`,
      `images/.${hex}.json.half`,
      'uploads/u.1.part',
      'uploads/old',
    ];
    half.push('volumes/.v.half', 'staging/seed-x');
    for (const name of half) writeFileSync(join(dataDir, name), 'x');
    mkdirSync(join(dataDir, 'run/digest-x'));
    mkdirSync(join(dataDir, 'staging/fetch-x'));
    await utimes(join(dataDir, 'uploads/old'), 1, 1);
    // another name of an old image; what is known of it is new
    await utimes(join(dataDir, 'uploads/kept'), 1, 1);
    await disks.ensureVolume({ volumeId: 'orphan', vmId: 'vm-1', imageDigest: undefined, sizeBytes: 2 ** 20 });
    await rm(disks.volumePath('orphan', false));
    const again = start(dataDir);
    expect(await again.listVolumes()).toMatchObject([{ volumeId: 'whole' }]);
    expect(await again.hasUpload('kept')).toBe(true);
    expect(litter(dataDir, 'images', 'uploads', 'volumes', 'staging', 'run').sort()).toEqual([
      'staging/fetch-x',
      'uploads/kept',
      'uploads/kept.json',
      'volumes/whole.json',
      'volumes/whole.qcow2',
    ]);
  });
});
