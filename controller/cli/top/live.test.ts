/** A table that goes on: what is on the screen, what keys do, and that the terminal is put back whatever ends it. */
import { EventEmitter } from 'node:events';
import { PassThrough } from 'node:stream';
import { describe, expect, it, vi } from 'vitest';
import { ClusterError } from '@berth/shared/errors/cluster-error.ts';
import { systemClock } from '@berth/shared/runtime/clock.ts';
import type { Context } from '../core/context.ts';
import { liveTop, type Sort } from './live.ts';

interface Row {
  readonly name: string;
}

class Ends extends EventEmitter {
  readonly pid = 7;
  readonly killed: string[] = [];
  kill(_pid: number, signal: string): void {
    this.killed.push(signal);
  }
}

function terminal(ask: (sort: Sort, limit: number) => Promise<readonly Row[]>, o: { everyMs?: number } = {}) {
  let written = '';
  const raw: boolean[] = [];
  const stdin = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => raw.push(on) });
  const write = (text: string) => ((written += text), true);
  const stdout = Object.assign(new PassThrough(), { isTTY: true, columns: 40, rows: 10, write });
  const stop = new AbortController();
  const ends = new Ends();
  const asked: [Sort, number][] = [];
  const ctx = { stdin, stdout, clock: systemClock, signal: stop.signal } as unknown as Context;
  const done = liveTop<Row>(
    ctx,
    {
      ...{ title: 'VMs', sort: 'cpu', wide: false, everyMs: o.everyMs ?? 3_600_000 },
      columns: [
        { title: 'NAME', cell: (r) => r.name },
        { title: 'MORE', cell: () => 'more', wide: true },
      ],
      ask: async (sort, limit) => {
        asked.push([sort, limit]);
        return { rows: await ask(sort, limit), head: '3 on', empty: 'nothing' };
      },
    },
    ends as never,
  ).then(
    () => 'left',
    (e: Error) => e.message,
  );
  const screen = () => (written.split('\x1b[H').at(-1) ?? '').replaceAll('\x1b[K', '').split('\x1b[J')[0] ?? '';
  return { stdin, stdout, stop, ends, asked, raw, done, screen, written: () => written };
}
type Terminal = ReturnType<typeof terminal>;
const shows = (t: Terminal, what: string | RegExp) => vi.waitFor(() => expect(t.screen()).toMatch(what));
function expectRestored(t: Terminal): void {
  expect(t.written().startsWith('\x1b[?1049h\x1b[?25l')).toBe(true);
  expect(t.written().endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
  expect(t.raw).toEqual([true, false]);
  expect(t.stdout.listenerCount('resize') + t.ends.listenerCount('exit') + t.ends.listenerCount('SIGTERM')).toBe(0);
}
const web = async () => [{ name: 'web' }];

describe('a table that goes on', () => {
  it('shows what was answered, and asks for as many rows as fit', async () => {
    const t = terminal(web);
    await shows(t, /^VMs by cpu {2}\d\d:\d\d:\d\d {2}3 on.*\r\nsort:.*\r\n\r\nNAME\r\nweb$/);
    expect(t.asked).toEqual([['cpu', 6]]);
    t.stdin.write('q');
    expect(await t.done).toBe('left');
    expectRestored(t);
  });

  it('sorts by what a key says, at once, and shows more columns', async () => {
    const t = terminal(async (sort) => [{ name: `by ${sort}` }]);
    await shows(t, 'by cpu');
    for (const [key, sort] of Object.entries({ m: 'memory', d: 'disk', n: 'net', a: 'name', c: 'cpu' })) {
      t.stdin.write(key);
      await shows(t, `\nby ${sort}`);
    }
    t.stdin.write('w');
    await shows(t, 'MORE');
    t.stdin.write('\x1b[A'); // an arrow is no Escape
    t.stdin.write('\x1b');
    await t.done;
    expectRestored(t);
  });

  it('fits the terminal after it was resized: lines are cut, and it asks for other rows', async () => {
    const t = terminal(async (_, limit) =>
      Array.from({ length: limit }, (__, i) => ({ name: `${'x'.repeat(60)}${i}` })),
    );
    await shows(t, 'NAME');
    Object.assign(t.stdout, { columns: 25, rows: 7 });
    t.stdout.emit('resize');
    await vi.waitFor(() => expect(t.asked.at(-1)).toEqual(['cpu', 3]));
    await vi.waitFor(() => {
      const lines = t.screen().split('\r\n');
      expect([lines.length, Math.max(...lines.map((l) => l.length))]).toEqual([7, 25]);
    });
    t.stdin.end();
    expect(await t.done).toBe('left');
    expectRestored(t);
  });

  it('leaves the last table standing while the controller is away, and goes on when it is back', async () => {
    let away = false;
    const t = terminal(
      async () => {
        if (away) throw new ClusterError('CONTROLLER_UNREACHABLE', 'no answer');
        return web();
      },
      { everyMs: 5 },
    );
    await shows(t, '3 on');
    away = true;
    await shows(t, /no answer; trying[^]*\r\nweb$/);
    away = false;
    await shows(t, '3 on');
    t.stop.abort();
    await t.done;
    expectRestored(t);
  });

  it.each(['PERMISSION_DENIED', 'INVALID_ARGUMENT'] as const)('ends with words on %s', async (reason) => {
    const t = terminal(async () => Promise.reject(new ClusterError(reason, 'not you')));
    expect(await t.done).toBe('not you');
    expectRestored(t);
  });

  it.each(['SIGTERM', 'SIGHUP'])('puts the terminal back before it dies of %s', async (signal) => {
    const t = terminal(web);
    await shows(t, 'web');
    t.ends.emit(signal);
    expectRestored(t);
    expect(t.ends.killed).toEqual([signal]);
    t.stop.abort();
    await t.done;
  });

  it('does not wait for an answer that does not come', async () => {
    const t = terminal(() => new Promise(() => undefined));
    await shows(t, 'asking');
    t.stdin.write('\x03');
    expect(await t.done).toBe('left');
    expectRestored(t);
  });

  it('lets nothing in a name drive the terminal', async () => {
    const t = terminal(async () => [{ name: 'we\x1b[2Jb' }]);
    await shows(t, /we\[2Jb/);
    t.stdin.write('q');
    await t.done;
  });
});
