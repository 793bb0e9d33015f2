import { appendFile, mkdtemp, mkdir, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '@berth/shared/log/log.ts';
import { createExec } from '../exec.ts';
import { createPool, type Pool } from './pool.ts';
import { boundSerialLogs, KEPT_BYTES } from './serial-bound.ts';
import { readSerialLog } from './serial-logs.ts';

let dir: string;
let pool: Pool;
let log: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'berth-serial-'));
  pool = createPool(dir);
  await mkdir(pool.serialDir);
  log = pool.serialLogPath('vm-1');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const read = (from: Parameters<typeof readSerialLog>[2], most = 1_000_000) => readSerialLog(pool, 'vm-1', from, most);

/** All that comes after `position`, as somebody who follows reads it. */
async function since(position: string, most = 7): Promise<{ text: string; position: string; gap: boolean }> {
  let [text, gap] = ['', false];
  for (;;) {
    const piece = await read({ position }, most);
    ({ position } = piece);
    gap ||= piece.gap;
    if (piece.data.length === 0) return { text, position, gap };
    text += Buffer.from(piece.data).toString();
  }
}

/** As virtlogd does it: names move on, the last goes, a new one begins. */
async function rotate(backups: number): Promise<void> {
  await rm(`${log}.${backups - 1}`, { force: true });
  for (let i = backups - 2; i >= 0; i--) await rename(`${log}.${i}`, `${log}.${i + 1}`).catch(() => undefined);
  await rename(log, `${log}.0`);
  await writeFile(log, '');
}

describe('a serial log', () => {
  it('is empty at first, and what comes then is read from that moment on', async () => {
    const none = await read({ lastBytes: 0 });
    expect(none).toMatchObject({ position: '', gap: false });
    await writeFile(log, 'hello');
    expect(await since(none.position)).toMatchObject({ text: 'hello', gap: false });
  });

  it('is read on over rotations: no byte is lost, and none comes twice', async () => {
    await writeFile(log, 'begin ');
    let { position } = await since('');
    let [text, written] = ['begin ', 'begin '];
    for (let i = 0; i < 40; i++) {
      const line = `line ${i}\n`;
      await appendFile(log, line);
      written += line;
      if (i % 3 === 2) await rotate(3);
      if (i % 5 !== 0) continue; // several rotations may pass between two looks
      const more = await since(position);
      expect(more.gap).toBe(false);
      text += more.text;
      ({ position } = more);
    }
    expect(text + (await since(position)).text).toBe(written);
  });

  it('is read on by somebody who kept nothing but the position', async () => {
    await writeFile(log, 'one');
    const { position } = await read({ lastBytes: 0 });
    await rotate(3);
    await appendFile(log, 'two');
    await rotate(3);
    await appendFile(log, 'three');
    expect(await since(position)).toMatchObject({ text: 'twothree', gap: false });
  });

  it('tells when what came next was rotated away, and goes on with what is kept', async () => {
    await writeFile(log, 'one');
    const { position } = await read({ lastBytes: 1 }, 1);
    for (const word of ['two', 'three', 'four', 'five']) {
      await rotate(2);
      await appendFile(log, word);
    }
    expect(await since(position)).toMatchObject({ text: 'threefourfive', gap: true });
  });

  it('tells when it was cut', async () => {
    await writeFile(log, 'a long story');
    const { position } = await read({ lastBytes: 0 });
    await truncate(log, 0);
    await appendFile(log, 'anew');
    expect(await since(position)).toMatchObject({ text: 'anew', gap: true });
  });

  it('has an end that reaches into what was rotated away', async () => {
    await writeFile(log, '0123456789');
    await rotate(3);
    await appendFile(log, 'abc');
    const piece = await read({ lastBytes: 5 });
    expect(Buffer.from(piece.data).toString()).toBe('89');
    expect((await since(piece.position)).text).toBe('abc');
    expect((await since((await read({ lastBytes: Infinity }, 0)).position)).text).toBe('0123456789abc');
  });

  it('stays readable in the middle of a rotation, when there is no newest file', async () => {
    await writeFile(log, 'one');
    const { position } = await read({ lastBytes: 3 }, 1);
    await rename(log, `${log}.0`);
    const middle = await since(position);
    expect(middle).toMatchObject({ text: 'ne', gap: false });
    await writeFile(log, 'two');
    expect(await since(middle.position)).toMatchObject({ text: 'two', gap: false });
  });

  it.each(['x', '../../etc/passwd', 'a-b', '1-1-zzzzzzzzzzzz', '1-1--1', 'A-B-C'])(
    'refuses %s as a position',
    async (p) => {
      await expect(read({ position: p })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
    },
  );
});

describe('a log that nobody rotates', () => {
  const bound = () =>
    boundSerialLogs({ pool, exec: createExec({ unprivilegedUser: 'nobody' }), log: createLog('test', 'silent') });

  it('takes no more disk than what is kept, and its positions stay good', async () => {
    await writeFile(log, Buffer.alloc(KEPT_BYTES, 'a'));
    const { position } = await read({ lastBytes: 10 }, 4);
    await appendFile(log, Buffer.alloc(3 * 2 ** 20, 'b'));
    await bound();
    const { size, blocks } = await stat(log);
    expect(size).toBe(KEPT_BYTES + 3 * 2 ** 20);
    expect(blocks * 512).toBeLessThanOrEqual(KEPT_BYTES + 8192);
    const on = await since(position, 2 ** 20);
    expect(on).toMatchObject({ gap: false });
    expect([on.text.length, on.text.slice(0, 7)]).toEqual([6 + 3 * 2 ** 20, 'aaaaaab']);
  });

  it('shows nothing of what was dropped, and tells those who stood there', async () => {
    await writeFile(log, 'old');
    const { position } = await read({ lastBytes: 0 });
    await appendFile(log, Buffer.alloc(KEPT_BYTES + 2 ** 22, 'n'));
    await bound();
    const all = await since('', 2 ** 22);
    expect(all.text).toBe('n'.repeat(KEPT_BYTES));
    expect(await since(position, 2 ** 22)).toMatchObject({ gap: true, text: all.text });
  });

  it('is left alone while it is small', async () => {
    await writeFile(log, Buffer.alloc(2 ** 20, 'a'));
    await bound();
    expect((await stat(log)).blocks * 512).toBeGreaterThanOrEqual(2 ** 20);
  });
});
