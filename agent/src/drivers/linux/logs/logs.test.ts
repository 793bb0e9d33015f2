/** Reading what a host writes down: its ends, its times, files that are rotated, and names that would lead elsewhere. */
import { appendFile, mkdir, mkdtemp, rename, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { logTo } from '@berth/shared/log/log.ts';
import { LogRing } from '@berth/shared/log/ring.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { HostLogs, LogLine, LogSource, LogWanted } from '../../host-logs.ts';
import { createHostLogs } from './host-logs.ts';
import { journalDate, kernelDate, libvirtDate, LineReader, MOST_CHARS, Tail } from './lines.ts';

describe('lines', () => {
  it('have their time as libvirt, the journal and the kernel write it', () => {
    expect(libvirtDate('2026-11-21 15:03:54.123+0000: 12: error : no')).toEqual({
      atMs: Date.UTC(2026, 10, 21, 15, 3, 54, 123),
      text: '12: error : no',
    });
    expect(libvirtDate('char device redirected to /dev/pts/3')).toBeUndefined();
    expect(journalDate('1732200000.250000 h1 libvirtd[12]: End of file')).toEqual({
      atMs: 1_732_200_000_250,
      text: 'libvirtd[12]: End of file',
    });
    expect(kernelDate('2026-11-21T15:03:54,123456+01:00 br0: port 1')).toEqual({
      atMs: Date.UTC(2026, 10, 21, 14, 3, 54, 123),
      text: 'br0: port 1',
    });
    expect(libvirtDate('2026-99-99 15:03:54.123+0000: x')).toBeUndefined();
  });

  it('that Berth wrote are put in words', () => {
    const json = '{"level":40,"time":5,"name":"berth-agent","host":"h1","msg":"lost libvirt","err":{"message":"gone"}}';
    expect(journalDate(`1732200000.250000 h1 berth-agent[7]: ${json}`)).toEqual({
      atMs: 5,
      text: 'warn  lost libvirt: gone host=h1',
    });
  });

  it('come whole, however the text is cut, and take the time of the line before', () => {
    const r = new LineReader(libvirtDate, 0);
    expect(r.take('2026-11-21 15:03:54.')).toEqual([]);
    const atMs = Date.UTC(2026, 10, 21, 15, 3, 54, 123);
    expect(r.take('123+0000: a\nb\nc')).toEqual([
      { atMs, text: 'a' },
      { atMs, text: 'b' },
    ]);
    expect(r.end()).toEqual([{ atMs, text: 'c' }]);
  });

  it('that are older are left out, and those without a time with them', () => {
    const r = new LineReader(libvirtDate, Date.UTC(2026, 10, 21));
    const text = 'x\n2026-11-20 00:00:00.000+0000: old\ny\n2026-11-21 00:00:00.000+0000: new\nz\n';
    expect(r.take(text).map((l) => l.text)).toEqual(['new', 'z']);
  });

  it('are cut when they never end', () => {
    const r = new LineReader(libvirtDate, 0);
    for (let i = 0; i < 100; i++) r.take('x'.repeat(10_000));
    const [line] = r.take('\n');
    expect(line?.text).toHaveLength(MOST_CHARS + 1);
  });

  it('are no more in memory than are wanted', () => {
    const t = new Tail(3);
    for (let i = 0; i < 10_000; i++) t.add([{ atMs: i, text: '' }]);
    expect(t.take().map((l) => l.atMs)).toEqual([9_997, 9_998, 9_999]);
  });
});

describe('logs of a host', () => {
  let root: string;
  let dir: string;
  let ring: LogRing;
  let asked: string[][];
  let said: string[];
  let logs: HostLogs;
  const exec = {
    async *stream(program: string, args: readonly string[]) {
      asked.push([program, ...args]);
      yield* said;
    },
  };
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'berth-logs-'));
    dir = join(root, 'var/log/libvirt/qemu');
    await mkdir(dir, { recursive: true });
    [ring, asked, said] = [new LogRing(), [], []];
    logs = createHostLogs({ exec, clock: systemClock, ring, root });
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  const wanted = (source: LogSource, over: Partial<LogWanted> = {}): LogWanted => ({
    ...{ source, domain: '', sinceMs: 0, tailLines: 100, follow: false },
    ...over,
  });
  async function all(w: LogWanted, signal = new AbortController().signal): Promise<string[]> {
    const lines: string[] = [];
    for await (const some of logs.read(w, signal)) lines.push(...some.map((l) => l.text));
    return lines;
  }
  const following = (w: LogWanted) => {
    const stop = new AbortController();
    const lines: LogLine[] = [];
    const done = (async () => {
      for await (const some of logs.read({ ...w, follow: true }, stop.signal)) lines.push(...some);
    })();
    const has = (text: string) => vi.waitFor(() => expect(lines.map((l) => l.text)).toContain(text), 10_000);
    return { lines, has, end: () => (stop.abort(), done) };
  };

  it('tell the end of the log of one QEMU', async () => {
    await writeFile(join(dir, 'web.log'), Array.from({ length: 50 }, (_, i) => `line ${i}\n`).join(''));
    expect(await all(wanted('qemu', { domain: 'web', tailLines: 2 }))).toEqual(['line 48', 'line 49']);
  });

  it('look at the end of a large file alone, and begin with a whole line', async () => {
    await writeFile(join(dir, 'web.log'), `${'x'.repeat(9 << 20)}\nlast\n`);
    expect(await all(wanted('qemu', { domain: 'web' }))).toEqual(['last']);
  });

  it.each(['../../../etc/passwd', '..', '.', 'a/b', 'a\0b', 'x'.repeat(300)])('refuse the name %j', async (domain) => {
    await expect(all(wanted('qemu', { domain }))).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('follow no link and open nothing but files', async () => {
    await writeFile(join(root, 'secret'), 'secret\n');
    await symlink(join(root, 'secret'), join(dir, 'web.log'));
    await mkdir(join(dir, 'db.log'));
    await expect(all(wanted('qemu', { domain: 'web' }))).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(all(wanted('qemu', { domain: 'db' }))).rejects.toMatchObject({ reason: 'BAD_STATE' });
    await expect(all(wanted('qemu', { domain: 'no' }))).rejects.toMatchObject({ reason: 'NOT_FOUND' });
  });

  it('go on with what is added, over a rotation and an emptied file', async () => {
    const file = join(dir, 'web.log');
    await writeFile(file, 'one\n');
    const f = following(wanted('qemu', { domain: 'web' }));
    await f.has('one');
    await appendFile(file, 'two\n');
    await f.has('two');
    await rename(file, `${file}.0`);
    await writeFile(file, 'three\n');
    await f.has('three');
    await truncate(file);
    await appendFile(file, '4\n');
    await f.has('4');
    await f.end();
    expect(f.lines.map((l) => l.text)).toEqual(['one', 'two', 'three', '4']);
  });

  it('are the agent’s own last lines where no systemd runs', async () => {
    const log = logTo(ring, 'berth-agent', 'info');
    log.info('one');
    const f = following(wanted('agent'));
    await f.has('info  one');
    log.warn({ token: 'hidden', host: 'h1' }, 'two');
    await f.has('warn  two token=[redacted] host=h1');
    await f.end();
    expect(await all(wanted('agent', { tailLines: 1 }))).toEqual(['warn  two token=[redacted] host=h1']);
    expect(asked).toEqual([]);
  });

  it('are asked of the journal where systemd runs', async () => {
    await mkdir(join(root, 'run/systemd/system'), { recursive: true });
    said = ['1732200000.250000 h1 kernel: a\n1732200001.', '250000 h1 kernel: b\n'];
    expect(await all(wanted('kernel', { sinceMs: 1_732_200_001_000 }))).toEqual(['kernel: b']);
    await all(wanted('agent', { tailLines: 7 }));
    await all(wanted('libvirt'));
    expect(asked[0]).toEqual(expect.arrayContaining(['journalctl', '--dmesg', '--since=@1732200001', '--lines=100']));
    expect(asked[1]).toEqual(expect.arrayContaining(['--unit=berth-agent.service', '--lines=7']));
    expect(asked[2]).toEqual(expect.arrayContaining(['--unit=libvirtd.service', '--unit=virtqemud.service']));
  });

  it('that a host keeps from the agent are refused in words', async () => {
    logs = createHostLogs({
      ...{ clock: systemClock, ring, root },
      exec: {
        // eslint-disable-next-line require-yield -- it fails before it says anything
        async *stream() {
          throw new Error('dmesg: read kernel buffer failed: Operation not permitted');
        },
      },
    });
    await expect(all(wanted('kernel'))).rejects.toMatchObject({
      reason: 'BAD_STATE',
      message: "the kernel's log of this host cannot be read",
    });
  });

  it('are libvirt’s file where there is one; without, it is said what to do', async () => {
    await expect(all(wanted('libvirt'))).rejects.toThrow(/set log_outputs/);
    await writeFile(join(root, 'var/log/libvirt/libvirtd.log'), '2026-11-21 15:03:54.123+0000: 12: error : no\n');
    expect(await all(wanted('libvirt'))).toEqual(['12: error : no']);
  });
});

it('the ring forgets the oldest lines, by their number and by their size', () => {
  const ring = new LogRing();
  for (let i = 0; i < 10_000; i++) ring.write(`{"level":30,"time":${i},"msg":"m"}\n`);
  expect(ring.all()).toHaveLength(4_000);
  for (let i = 0; i < 20; i++) ring.write(`${'x'.repeat(100_000)}\n`);
  expect(ring.all().length).toBeLessThan(12);
  ring.write('no json\n');
  expect(ring.all().at(-1)).toEqual({ atMs: 0, text: 'no json' });
});
