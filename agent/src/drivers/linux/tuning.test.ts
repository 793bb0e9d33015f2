import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeRoot } from '../../testing/fake-root.ts';
import { RootFiles } from './root-files.ts';
import { createTuning, type WriteKernel } from './tuning.ts';
import { createWriteKernel } from './write-kernel.ts';

const MM = '/sys/kernel/mm';
const PAGES = `${MM}/hugepages/hugepages-2048kB`;
let root: FakeRoot;
let writes: string[];
/** How many pages this kernel can make; the rest of what is asked for is not had. */
let mostPages: number;

beforeEach(async () => {
  root = await FakeRoot.make();
  writes = [];
  mostPages = Infinity;
  await root.put({
    '/proc/meminfo': 'MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n',
    '/proc/sys/vm/swappiness': '60\n',
  });
  await root.putIn(`${MM}/ksm`, { run: '0' });
  await root.putIn(`${MM}/transparent_hugepage`, { enabled: 'always [madvise] never' });
  await root.putIn(PAGES, { nr_hugepages: '100', free_hugepages: '40', resv_hugepages: '10' });
  await root.putIn('/sys/block/sda', {
    'queue/scheduler': 'none [mq-deadline]',
    'queue/rotational': '1',
    'device/x': '',
  });
  await root.putIn('/sys/block/nvme0n1', {
    'queue/scheduler': '[none] kyber',
    'queue/rotational': '0',
    'device/x': '',
  });
  await root.putIn('/sys/block/loop0', { 'queue/scheduler': '[none] kyber' });
});
afterEach(() => root.remove());

/** As the kernel does it: what is written is shown in its own way. */
const kernel: WriteKernel = async (path, text) => {
  writes.push(`${path.split('/').at(-1)} ${text}`);
  const before = await new RootFiles(root.dir).line(path);
  if (path.endsWith('nr_hugepages')) {
    const n = Math.min(Number(text), mostPages);
    await root.putIn(PAGES, { nr_hugepages: String(n), free_hugepages: String(n - 60 + 0), resv_hugepages: '0' });
  } else if (/\[/.test(before)) {
    const words = before.replace(/[[\]]/g, '').split(' ');
    if (!words.includes(text)) throw Object.assign(new Error('EINVAL'), { code: 'EINVAL' });
    await root.put({ [path]: words.map((w) => (w === text ? `[${w}]` : w)).join(' ') });
  } else await root.put({ [path]: `${text}\n` });
};
const tuning = (write: WriteKernel = kernel) => createTuning(new RootFiles(root.dir), write);
const values = async () => Object.fromEntries((await tuning().read()).map((s) => [s.name, s.value]));

describe('the settings of a kernel', () => {
  it('are read with their choices and what suits a host of VMs, those of real disks only', async () => {
    const all = await tuning().read();
    expect(all.map((s) => [s.name, s.value, s.recommended])).toEqual([
      ['ksm', 'off', 'off'],
      ['thp', 'madvise', 'madvise'],
      ['swappiness', '60', '10'],
      ['hugepages/2MiB', '100', ''],
      ['io-scheduler/nvme0n1', 'none', 'none'],
      ['io-scheduler/sda', 'mq-deadline', 'mq-deadline'],
    ]);
    expect(all.find((s) => s.name === 'hugepages/2MiB')?.note).toBe('30 free');
    expect(all.find((s) => s.name === 'thp')?.choices).toEqual(['always', 'madvise', 'never']);
  });

  it('are none where the kernel has none', async () => {
    const bare = await FakeRoot.make();
    expect(await createTuning(new RootFiles(bare.dir), kernel).read()).toEqual([]);
    await bare.remove();
  });

  it('are brought to what is wanted, and only what differs is written; twice is once', async () => {
    const wanted = { ksm: 'on', thp: 'madvise', swappiness: '10', 'hugepages/2MiB': '200', 'io-scheduler/sda': 'none' };
    await tuning().ensure(wanted);
    expect(writes.sort()).toEqual(['nr_hugepages 200', 'run 1', 'scheduler none', 'swappiness 10']);
    expect(await values()).toMatchObject(wanted);
    writes = [];
    await tuning().ensure(wanted);
    expect(writes).toEqual([]);
  });
});

describe('what must not be set', () => {
  const refused = async (wanted: Record<string, string>, words: RegExp) => {
    const before = await values();
    await expect(tuning().ensure(wanted)).rejects.toThrow(words);
    expect(await values()).toEqual(before);
    expect(writes).toEqual([]);
  };

  it('is refused before anything is written: a disk that is not there, a scheduler that it has not', async () => {
    await refused(
      { ksm: 'on', 'io-scheduler/sdx': 'none' },
      /no setting io-scheduler\/sdx: it has io-scheduler\/nvme0n1, /,
    );
    await refused({ ksm: 'on', 'io-scheduler/sda': 'bfq' }, /cannot be bfq on this host: it takes none, mq-deadline/);
    await refused({ ksm: 'on', 'hugepages/1GiB': '1' }, /no setting hugepages\/1GiB: it has hugepages\/2MiB/);
  });

  it('is more memory than the host has available, less what it keeps for itself', async () => {
    // 4 GiB available, 512 MiB kept: 1792 pages of 2 MiB more
    await refused({ ksm: 'on', 'hugepages/2MiB': '1893' }, /take 3\.5 GiB more, but 3\.5 GiB can be had/);
    await tuning().ensure({ 'hugepages/2MiB': '1892' });
    expect(await values()).toMatchObject({ 'hugepages/2MiB': '1892' });
  });

  it('is fewer pages than VMs use', async () => {
    await refused({ 'hugepages/2MiB': '69' }, /cannot be 69: VMs use 70 of these pages; stop them first/);
  });
});

describe('what the kernel does not take', () => {
  it('is taken back, with all that was written before it', async () => {
    mostPages = 150;
    const before = await values();
    await expect(tuning().ensure({ ksm: 'on', 'hugepages/2MiB': '200' })).rejects.toThrow(
      /this host could make 150 pages of 200, because its memory is in pieces: try again after a reboot/,
    );
    expect(await values()).toMatchObject({ ksm: before['ksm'], 'hugepages/2MiB': '100' });
  });

  it('because it is read-only is told as such', async () => {
    const readOnly: WriteKernel = async () => {
      throw Object.assign(new Error('EROFS: read-only file system, open'), { code: 'EROFS' });
    };
    await expect(tuning(readOnly).ensure({ ksm: 'on' })).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: 'this host does not let its agent set ksm: /sys/kernel/mm/ksm/run is read-only there',
    });
  });

  it('though it says nothing is told too', async () => {
    await expect(tuning(async () => undefined).ensure({ ksm: 'on' })).rejects.toThrow(/ksm stays off on this host/);
  });
});

describe('writing a file of the kernel', () => {
  const asked: (readonly string[])[] = [];
  const exec = {
    run: async (_: string, args: readonly string[]) => (asked.push(args), { stdout: '', stderr: '', exitCode: 0 }),
  };
  const content = (path: string) => readFile(join(root.dir, path), 'utf8');

  it('writes it in place, and makes none that is not there', async () => {
    const write = createWriteKernel(exec, new RootFiles(root.dir), () => true);
    await write(`${MM}/ksm/run`, '1');
    expect(await content(`${MM}/ksm/run`)).toBe('1\n');
    await expect(write(`${MM}/ksm/nosuch`, '1')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(asked).toEqual([]);
  });

  it('asks systemd, where it runs, to write what the agent’s own unit may not', async () => {
    const path = '/sys/kernel/uevent_seqnum'; // read-only for everybody
    const files = new RootFiles();
    await expect(createWriteKernel(exec, files, () => false)(path, '1')).rejects.toThrow();
    expect(asked).toEqual([]);
    await createWriteKernel(exec, files, () => true)(path, '1');
    expect(asked[0]?.slice(-3)).toEqual(['--', 'tee', path]);
    expect(asked[0]).toContain(`StandardInputData=${Buffer.from('1\n').toString('base64')}`);
  });
});
